"""The house rules of the design, read off the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rsa_ops.data.assets import PACKAGE as PACKAGE_OF_DATA
from rsa_ops.data.assets import VERSION as VERSION_OF_DATA
from rsa_ops.models.base import ASSETS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rsa_ops"
MODULES = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
FOLDERS = ("rsa_ops", "pipelines", "dashboards", "docs", "benchmarks", "ci", "tests")
TEXTS = {
    path: path.read_text("utf-8")
    for pattern in ("*.md", "*.toml", "*.txt", "Makefile", "NOTICE", *(f"{folder}/**/*" for folder in FOLDERS))
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix not in {".pyc", ".gz"} and path != Path(__file__)
}
# Signatures that a library dictates: its own keywords arrive there and are passed on or left.
DICTATED = {
    *("on_log", "on_optimizer_step", "on_step_end", "on_train_begin", "on_train_end"),
    *("forward", "_enable_peft_forward_hooks"),
}
# The two halves of a torch.autograd.Function; the class docstring gives their shapes.
TOLD_BY_THE_CLASS = {
    f"{node}.{direction}"
    for node in ("BlockGradient", "ElementProduct", "Keep", "Pick")
    for direction in ("forward", "backward")
}
# Named in pyproject.toml and in no module yet; an extra that is not installed with the tested set has no pin.
UNPINNED_EXTRAS = {"ray"}


def nodes(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, ast.AST]]:
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield f"{name}:{getattr(node, 'lineno', 0)}", node


def in_room(place: str, room: str) -> bool:
    return place.startswith(f"rsa_ops/{room}/")


def imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
        return [str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)]
    return []


def test_every_contract_between_the_rooms_is_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed beside this interpreter")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert ", 0 broken" in done.stdout


def test_nothing_in_the_package_prints_or_asserts() -> None:
    printing = [where for where, node in nodes(ast.Call) if getattr(node.func, "id", "") == "print"]
    assert printing + [where for where, _ in nodes(ast.Assert)] == []


def test_a_broad_except_stands_only_at_the_edge() -> None:
    every = {"Exception", "BaseException"}
    broad = [
        where
        for where, node in nodes(ast.ExceptHandler)
        if node.type is None or every & {getattr(part, "id", "") for part in ast.walk(node.type)}
    ]
    broad += [
        where
        for where, node in nodes(ast.Call)
        if ast.unparse(node.func).endswith("suppress") and every & {ast.unparse(kind) for kind in node.args}
    ]
    assert [where for where in broad if not in_room(where, "cli")] == []


def test_no_file_is_longer_than_400_lines_and_no_function_longer_than_60() -> None:
    long_files = [path.name for path in PACKAGE.rglob("*.py") if path.read_text("utf-8").count("\n") > 400]
    functions = nodes((ast.FunctionDef, ast.AsyncFunctionDef))
    assert long_files + [f"{where} {n.name}" for where, n in functions if n.end_lineno - n.lineno >= 60] == []


def test_nineteen_functions_in_twenty_have_at_most_40_lines() -> None:
    lengths = sorted(
        node.end_lineno - node.lineno + 1 for _, node in nodes((ast.FunctionDef, ast.AsyncFunctionDef))
    )
    assert lengths[int(0.95 * len(lengths))] <= 40


def test_keywords_are_named() -> None:
    open_ended = {
        node.name: where
        for where, node in nodes((ast.FunctionDef, ast.AsyncFunctionDef))
        if node.args.kwarg and not node.name.startswith("__")
    }
    assert {name: where for name, where in open_ended.items() if name not in DICTATED} == {}
    assert set(open_ended) == DICTATED  # the list names nothing that is gone
    assert [where for where, node in nodes(ast.Lambda) if node.args.kwarg] == []


def test_only_tracking_imports_mlflow_even_inside_functions() -> None:
    found = [
        where
        for where, node in nodes((ast.Import, ast.ImportFrom, ast.Call))
        if any(name.split(".")[0] == "mlflow" for name in imports(node)) and not in_room(where, "tracking")
    ]
    assert found == []


def test_the_tuner_room_needs_torch_peft_and_transformers_callbacks_alone() -> None:
    # transformers and safetensors come with peft, which needs them; RsaCallback is a TrainerCallback.
    needed = {"torch", "peft", "transformers", "safetensors", "rsa_ops"}
    names = {
        name
        for where, node in nodes((ast.Import, ast.ImportFrom, ast.Call))
        if in_room(where, "tuners")
        for name in imports(node)
    }
    assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) == needed
    assert {name for name in names if name.startswith("rsa_ops")} == {
        name for name in names if name.startswith("rsa_ops.tuners")
    }


def test_everything_public_says_what_it_is() -> None:
    lacking = [name for name, tree in MODULES.items() if not ast.get_docstring(tree)]
    for name, tree in MODULES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                lacking += [] if ast.get_docstring(node) else [f"{name}:{node.lineno} {node.name}"]
                lacking += untold(node) if isinstance(node, ast.ClassDef) else []
    assert sorted(lacking) == sorted(TOLD_BY_THE_CLASS)


def untold(kind: ast.ClassDef) -> list[str]:
    methods = [node for node in kind.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    return [f"{kind.name}.{node.name}" for node in methods if not ast.get_docstring(node)]


def test_nothing_is_left_for_later() -> None:
    left = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    assert [str(path) for path in PACKAGE.rglob("*.py") if left.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("command", [[], ["run"], ["train"], ["gate"], ["plan"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys\nfrom rsa_ops.cli.main import main\n"
        f"sys.argv = ['rsa-ops', *{command}, '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'mlflow', 'torch', 'great_expectations', 'transformers', 'peft', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Usage" in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_every_dependency_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(line) for line in sum(extras.values(), project["dependencies"])]
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[\w.+]+", line) for line in lines)
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(pins) == len(lines)
    assert {each.name for each in wanted if canonicalize_name(each.name) not in pins} == UNPINNED_EXTRAS
    outside = [
        f"{each} is pinned to {pins[canonicalize_name(each.name)]}"
        for each in wanted
        if each.name not in UNPINNED_EXTRAS and pins[canonicalize_name(each.name)] not in each.specifier
    ]
    assert outside == []


def test_what_has_no_pin_is_imported_nowhere() -> None:
    found = [where for where, node in nodes((ast.Import, ast.ImportFrom)) if UNPINNED_EXTRAS & set(imports(node))]
    assert found == []


def test_no_path_of_a_machine_stands_in_the_project() -> None:
    place = re.compile(r"(?<![\w.$])/(work|tmp/w|root|home/\w+)\b")
    assert [str(path) for path, text in TEXTS.items() if place.search(text)] == []


def test_no_host_of_a_registry_stands_in_the_project() -> None:
    host = re.compile(
        r"pypi\.|pythonhosted|anaconda\.|download\.pytorch|huggingface\.co|hf\.co|ghcr\.io|docker\.io|index-url",
        re.I,
    )
    assert [str(path) for path, text in TEXTS.items() if host.search(text)] == []


def test_the_exit_codes_of_the_readme_and_of_help_are_those_of_the_code() -> None:
    from rsa_ops.cli.main import EPILOG
    from rsa_ops.errors import EXIT_MEANINGS

    section = (ROOT / "README.md").read_text("utf-8").split("## Exit codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", section, flags=re.MULTILINE)
    assert [(int(code), words) for code, words in rows] == [(int(k), words) for k, words in EXIT_MEANINGS.items()]
    assert re.findall(r"(\d+) ([^·]+?)(?: ·|$)", EPILOG) == rows


def test_the_drawing_of_the_exceptions_has_their_codes() -> None:
    from rsa_ops import errors

    drawn = dict(re.findall(r"^[ │├└─]*─ (\w+) +(\d+) ", str(errors.__doc__), flags=re.MULTILINE))
    kinds = {
        name: str(int(kind.exit_code))
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.RsaOpsError) and kind is not errors.RsaOpsError
    }
    assert drawn == kinds


def test_the_assets_are_pinned_by_hash() -> None:
    text = (ROOT / "requirements-assets.txt").read_text("utf-8")
    names = re.findall(r"^([\w-]+)==\S+", text, flags=re.MULTILINE)
    assert len(names) >= 3
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= len(names)


def test_the_code_asks_for_the_assets_that_are_pinned() -> None:
    pinned = set(re.findall(r"^[\w-]+==\S+", (ROOT / "requirements-assets.txt").read_text("utf-8"), re.MULTILINE))
    assert pinned == {f"{PACKAGE_OF_DATA}=={VERSION_OF_DATA}", *(asset.requirement for asset in ASSETS.values())}
