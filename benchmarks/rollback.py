"""How long a rollback drill takes on a model of the demo's size, and the rollback itself.

Run: python benchmarks/rollback.py  ->  benchmarks/results/rollback.json and the block in docs/governance.md

Two adapters with the demo's base, arm, labels and texts are registered, judged, signed and promoted one after the
other; their values are drawn, not trained, which changes no time. Then `rsa-ops rollback --drill` is run as people
run it, a process each time, and at the end once in earnest, with `rsa-ops audit verify` behind it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PIPELINE = HERE.parent / "pipelines" / "incident-triage"
LIMIT_SECONDS = 10.0
DRILLS = 5
MARKS = ("<!-- rollback: written by benchmarks/rollback.py, do not edit by hand -->", "<!-- /rollback -->")


def adapter(folder: Path, seed: int) -> list[str]:
    """An adapter of the demo's `rsa` arm in `folder`; the texts to judge it on."""
    import torch

    from rsa_ops.core.cell import Cell
    from rsa_ops.core.digest import digest_bytes
    from rsa_ops.data.assets import read_asset
    from rsa_ops.models.base import resolve_base
    from rsa_ops.models.task import load_base_model
    from rsa_ops.models.trained import TrainedModel, save_trained
    from rsa_ops.stages.config import read_pipeline
    from rsa_ops.training.arms import apply_arm

    config, _, _ = read_pipeline(PIPELINE)
    columns = read_asset("incident-triage").columns
    labels = tuple(sorted({str(label) for label in columns["label"]}))
    base = resolve_base(config.model.base)
    bare = load_base_model(base.folder, config.model, config.task, labels, seed=seed)
    model, _ = apply_arm(bare, config.train.arms["rsa"], "rsa", config.task, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for value in model.parameters():
        if value.requires_grad:
            value.data.add_(0.01 * torch.randn(value.shape, generator=generator))
    spec = TrainedModel(
        cell=Cell(arm="rsa", seed=seed),
        method="rsa",
        task=config.task,
        model=config.model,
        base_digest=base.digest,
        labels=labels,
        data_digest=digest_bytes(b"none"),
    )
    folder.mkdir(parents=True)
    save_trained(folder, model, spec)
    return [str(text) for text in columns["text"][: config.benchmark.latency_examples]]


def promoted(work: Path, seed: int) -> str:
    """Register, judge, sign and promote one more adapter; the name of the registered model."""
    from rsa_ops.core.digest import digest_bytes
    from rsa_ops.core.verdict import Outcome
    from rsa_ops.evaluation.benchmark import PROBE
    from rsa_ops.evaluation.predict import predict_one_by_one
    from rsa_ops.files import digest_folder, write_text
    from rsa_ops.governance.desk import open_desk
    from rsa_ops.governance.entry import Kind
    from rsa_ops.governance.notary import open_notary
    from rsa_ops.governance.papers.folder import SIGNATURE
    from rsa_ops.governance.papers.model_key import model_key
    from rsa_ops.governance.papers.signature import sign_folder
    from rsa_ops.governance.payloads import Papers, PolicyLock, VerdictGiven
    from rsa_ops.models.trained import load_trained
    from rsa_ops.stages.promotion import Wish, apply, file_plan
    from rsa_ops.tracking.registry import register_adapter, registered_name
    from rsa_ops.tracking.runs import RunFacts, end_run, log_facts, log_files, start_run
    from rsa_ops.tracking.store import open_store

    folder = work / f"adapter-{seed}"
    texts = adapter(folder, seed)
    loaded, spec = load_trained(folder, device="cpu")
    probe = {"texts": texts, "outputs": predict_one_by_one(loaded, spec, texts).outputs}
    write_text(work / str(seed) / PROBE, json.dumps(probe))
    digest = digest_folder(folder)
    store = open_store(f"sqlite:///{work / 'mlflow.db'}", "rollback", work / "artifacts")
    run = start_run(store, f"run {seed}", {})
    judged = start_run(store, f"benchmark {seed}", {"stage": "benchmark"}, run)
    log_files(store, judged, work / str(seed) / PROBE)
    log_facts(store, judged, RunFacts(tags={"digest.sha256": digest}))
    end_run(store, judged)
    registered = register_adapter(
        store, registered_name("incident-triage", spec.base_digest), run, folder, digest, {"run": run}
    )
    notary = open_notary(str(work / "ledger.db"), None, lambda _: None)
    key = model_key(work / "ledger.key")
    bundle = sign_folder(folder, key)
    (work / str(seed) / Path(SIGNATURE).name).write_bytes(bundle)
    log_files(store, run, work / str(seed) / Path(SIGNATURE).name, str(Path(SIGNATURE).parent))
    policy, test = digest_bytes(b"policy"), digest_bytes(b"test")
    lock = PolicyLock(pipeline="incident-triage", policy="x", policy_digest=policy, test_digest=test)
    desk = open_desk(notary)
    verdict = VerdictGiven(
        pipeline="incident-triage",
        lock=notary.write(Kind.POLICY_LOCK, run, lock).hash,
        policy_digest=policy,
        test_digest=test,
        verdict_digest=digest_bytes(run.encode()),
        outcome=Outcome.PROMOTE,
        candidate_digest=digest,
        champion_digest=desk.alias(f"{registered.name}@champion").at.digest,
        unmet=(),
    )
    notary.write(Kind.VERDICT, run, verdict)
    papers = Papers(
        model=registered.name,
        version=registered.version,
        digest=digest,
        base_digest=spec.base_digest,
        run=run,
        signature=digest_bytes(bundle),
        signer_public_key=key.public_key,
        files={SIGNATURE: digest_bytes(bundle)},
    )
    notary.write(Kind.PAPERS, f"{registered.name}/{registered.version}", papers)
    wish = Wish(registered.name, registered.version, digest, "to be rolled back from")
    apply(desk, store, file_plan(desk, wish))
    return registered.name


def command(work: Path, *words: str) -> tuple[float, dict[str, Any]]:
    """Wall seconds of a whole `rsa-ops` process, and the record that it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "rsa_ops.cli", *words, "--ledger", str(work / "ledger.db"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return wall, json.loads(done.stdout)


def processor_seconds() -> float:
    """What ended child processes, and theirs, have used so far; a busy machine changes it less than wall time."""
    found = os.times()
    return found.children_user + found.children_system


def measure(work: Path) -> dict[str, Any]:
    """The times of the drills, and of one rollback."""
    for seed in (1, 2):
        model = promoted(work, seed)
    used = processor_seconds()
    drills = [command(work, "rollback", model, "--drill") for _ in range(DRILLS)]
    used = processor_seconds() - used
    times = [wall for wall, _ in drills]
    checks: dict[str, list[float]] = {}
    for _, record in drills:
        for check in record["checks"]:
            checks.setdefault(check["name"], []).append(check["wall_seconds"])
    wall, record = command(work, "rollback", model, "--reason", "measured")
    _, audit = command(work, "audit", "verify")
    return {
        "drill_seconds": {
            "median": round(statistics.median(times), 2),
            "fastest": round(min(times), 2),
            "slowest": round(max(times), 2),
        },
        "drill_processor_seconds": round(used / DRILLS, 2),
        "limit_seconds": LIMIT_SECONDS,
        "drills": DRILLS,
        "check_seconds_median": {name: round(statistics.median(found), 3) for name, found in checks.items()},
        "rollback_seconds": round(wall, 2),
        "rolled_back_to_generation_of": record["target"]["generation"],
        "audit_first_bad": audit["first_bad"],
        "audit_registry_findings": len(audit["registry"]),
        "probe_texts": 16,
    }


def quote(record: dict[str, Any]) -> None:
    """Put the numbers into the documentation."""
    page = HERE.parent / "docs" / "governance.md"
    text = page.read_text(encoding="utf-8")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    drill, load = record["drill_seconds"], record["load_before"]
    used = record["drill_processor_seconds"]
    fresh = record["check_seconds_median"]["fresh process"]
    words = (
        f"{record['cores']} cores, load {load} before (`benchmarks/results/rollback.json`): a drill on a model of\n"
        f"the demo's size takes {drill['median']} s (the whole command; {drill['fastest']} to {drill['slowest']} s "
        f"in {record['drills']}), {fresh} s of it in the fresh\nprocess, and {used} s of processor time in both. "
        f"A rollback took {record['rollback_seconds']} s. The limit is {record['limit_seconds']:.0f} s.\n"
    )
    page.write_text(f"{before}{MARKS[0]}\n{words}{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Measure, write the record, and fail where the limit is broken."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    versions = {name: version(name) for name in ("mlflow", "peft", "torch", "transformers")}
    record = {"cores": os.cpu_count(), "load_before": load, **found, "versions": versions}
    (HERE / "results" / "rollback.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    quote(record)
    print(json.dumps(record, indent=1))
    if found["drill_seconds"]["median"] > LIMIT_SECONDS:
        raise SystemExit(f"a drill took {found['drill_seconds']['median']} s; the limit is {LIMIT_SECONDS} s")


if __name__ == "__main__":
    main()
