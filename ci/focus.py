"""Put FOCUS files that `rsa-ops cost --focus` writes before the official validator of the FinOps Foundation.

Run: python ci/focus.py VENV

VENV is made if it is not there: the validator needs Python 3.12, NumPy 1 and pandas 2, which rsa_ops does not, so
it never shares an environment with it. A known run is priced in yen and in dollars, as CSV and as Parquet. The exit
code is 1 where a rule of FOCUS 1.2 fails, or where a file that is wrong on purpose is not refused.

Two rules of the model are the two halves of an alternative (InvoiceId is empty, InvoiceId is not empty), and the
validator reports the half that does not hold as failed beside the alternative that passed. Such a half is no
failure: a failed rule is excused where a rule of the model that passed names it as one of its alternatives.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = os.environ.get("FOCUS_PYTHON", "python3.12")
PINNED = ("focus-validator==2.2.1", "numpy==1.26.4", "pandas==2.3.3", "pyarrow==23.0.1")
VERSION = "1.2"
CRITERIA = "ACCOUNT_NAMING_SUPPORTED"
LEAST_CHECKS = 100
"""So many rules of FOCUS 1.2 can be checked on a file without conditional columns; fewer is no validation."""


def main() -> int:
    """Validate, print a line for each file, and give the exit code."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    venv = Path(sys.argv[1]).resolve()
    prepare(venv)
    with tempfile.TemporaryDirectory() as folder:
        files = known_files(Path(folder))
        sound = [refused(venv, file) == [] for file in files]
        wrong = Path(folder, "wrong.csv")
        wrong.write_text(files[0].read_text("utf-8").replace(",JPY,", ",Yen,"), "utf-8")
        caught = refused(venv, wrong) != []
    sys.stdout.write(f"a file with a currency that does not exist is {'refused' if caught else 'NOT REFUSED'}\n")
    return 0 if all(sound) and caught else 1


def prepare(venv: Path) -> None:
    """Make the environment of the validator."""
    if not (venv / "bin" / "focus-validator").exists():
        try:
            subprocess.run([PYTHON, "-m", "venv", venv], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"the validator needs Python 3.12; set FOCUS_PYTHON to one ({error})") from None
        subprocess.run([venv / "bin" / "python", "-m", "pip", "install", "--quiet", *PINNED], check=True)


def known_files(folder: Path) -> list[Path]:
    """The run of tests/worlds.py as FOCUS data, written by the command line."""
    results = folder / "results"
    sys.path.insert(0, str(ROOT))
    importlib.import_module("tests.worlds").write_results(results, "triage", "sqlite:///mlflow.db", "known")
    yen = (ROOT / "rsa_ops" / "costs" / "scenarios" / "department.yaml").read_text("utf-8")
    (folder / "dollars.yaml").write_text(yen.replace("currency: JPY", "currency: USD"), "utf-8")
    made = []
    for scenario, name in (("department", "yen"), (str(folder / "dollars.yaml"), "dollars")):
        for ending in ("csv", "parquet"):
            made.append(folder / f"{name}.{ending}")
            command = [sys.executable, "-m", "rsa_ops.cli", "cost", results, "--scenario", scenario]
            paths = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
            subprocess.run(
                [*command, "--focus", made[-1]],
                check=True,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths},
            )
    return made


def refused(venv: Path, file: Path) -> list[str]:
    """The rules that the file breaks, said in one line each."""
    (package,) = venv.glob("lib/python*/site-packages/focus_validator")
    command = [venv / "bin" / "focus-validator", "--data-file", file, "--validate-version", VERSION]
    command += ["--block-download", "--show-violations", "--applicability-criteria", CRITERIA]
    # it reads its list of currencies by a path from the folder above its package, and ends with 0 whatever it found
    done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, check=True)
    found = dict(re.findall(r"^\S+ ([A-Za-z]+-[CD]-\d+-[MCO]): (PASS|FAIL|SKIPPED)", done.stdout, re.MULTILINE))
    passed = [rule for rule, result in found.items() if result == "PASS"]
    if len(passed) < LEAST_CHECKS:
        raise SystemExit(f"only {len(passed)} rules were checked:\n{done.stdout[:2000]}")
    excused = alternatives(package, passed)
    failed = [rule for rule, result in found.items() if result == "FAIL"]
    broken = [rule for rule in failed if rule not in excused]
    words = f"{len(passed)} rules pass, {len(broken)} fail, {len(failed) - len(broken)} halves of an alternative"
    sys.stdout.write(f"{file.name}: {words}, {len(found) - len(passed) - len(failed)} do not apply\n")
    for rule in broken:
        sys.stdout.writelines(f"  {line}\n" for line in done.stdout.splitlines() if line.startswith(f"- {rule}:"))
    return broken


def alternatives(package: Path, passed: list[str]) -> set[str]:
    """The rules that a rule which passed offers as alternatives."""
    (model,) = (package / "rules").glob("model-1.2*.json")
    rules = json.loads(model.read_text("utf-8"))["ModelRules"]
    wanted = [rules[rule]["ValidationCriteria"]["Requirement"] for rule in passed]
    items = [item for each in wanted if each.get("CheckFunction") == "OR" for item in each["Items"]]
    return {item["ModelRuleId"] for item in items if "ModelRuleId" in item}


if __name__ == "__main__":
    sys.exit(main())
