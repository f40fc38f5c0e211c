"""Small worlds whose figures can be worked by hand: measured cells, a comparison, the records of a run."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from rsa_ops.core.benchmark import CellScores, Forgetting
from rsa_ops.core.business_case import BusinessCase
from rsa_ops.core.cell import Cell
from rsa_ops.core.comparison import Comparison, Contrast
from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.core.measurements import Energy, Measurements
from rsa_ops.core.run_record import RunRecord
from rsa_ops.costs import CostConfig, default_book
from rsa_ops.costs.case import Measured, business_case
from rsa_ops.costs.scenario import load_scenario
from rsa_ops.files import write_record

SHA = "sha256:" + "0" * 64


def measured(
    arm: str = "rsa",
    seed: int = 1,
    *,
    wall_seconds: float = 3600.0,
    workers: int = 1,
    threads: int = 2,
    device: str = "cpu, 2 threads",
    artifact_bytes: int = 1_000_000,
    attempts: int = 1,
    energy: Energy | None = None,
    parameters: int = 25_000_000,
) -> Measurements:
    return Measurements(
        cell=Cell(arm=arm, seed=seed),
        method=arm,
        base_model="asset:minilm-l6",
        base_digest=SHA,
        artifact_digest=SHA,
        data_digest=SHA,
        device=device,
        workers=workers,
        threads=threads,
        wall_seconds=wall_seconds,
        cpu_seconds=1.0,
        selection_seconds=0.0,
        peak_host_memory_bytes=1,
        peak_device_memory_bytes=None,
        energy=energy or Energy(energy_kwh=None, source="not measured"),
        trainable_parameters=1,
        total_parameters=parameters,
        artifact_bytes=artifact_bytes,
        tokens=1,
        examples=1,
        steps=1,
        epochs=1.0,
        learning_rate=1e-3,
        effort="none",
        final_loss=0.1,
        attempts=attempts,
    )


def comparison(value: float = 0.0, error: float = 0.01, difference: bool = True) -> Comparison:
    estimate = Estimate(
        value=value,
        low=value - 2 * error,
        high=value + 2 * error,
        confidence=0.9,
        method="crossed",
        examples=600,
        seeds=3,
        standard_error=error,
        degrees_of_freedom=4.0,
    )
    result = PairedResult(
        answer=Answer.NON_INFERIOR if difference else Answer.INVALID,
        margin=0.03,
        alpha=0.05,
        difference=estimate if difference else None,
        p_noninferior=None,
        variance_share_seeds=None,
        more_examples=None,
        more_seeds=None,
        reason="",
    )
    contrast = Contrast(metric="accuracy", population="all", candidate="rsa", baseline="full", result=result)
    return Comparison(
        candidate="rsa",
        baselines=("full",),
        primary_metric="accuracy",
        test_digest=SHA,
        examples=600,
        arms=(),
        contrasts=(contrast,),
        drops=(),
    )


def world(
    *cells: Measurements, evaluations: dict[str, float] | None = None, about: Comparison | None = None
) -> Measured:
    found = cells or (
        measured("rsa", 1, wall_seconds=360, artifact_bytes=2_000_000),
        measured("rsa", 2, wall_seconds=720, artifact_bytes=2_000_000),
        measured("full", 1, wall_seconds=1800, artifact_bytes=100_000_000),
        measured("full", 2, wall_seconds=1800, artifact_bytes=100_000_000),
    )
    seconds = {"rsa": 36.0, "full": 36.0} if evaluations is None else evaluations
    return Measured("triage", found, seconds, about or comparison())


def a_case(named: str = "department") -> BusinessCase:
    """The business case of `world` under an embedded scenario, with few draws."""
    scenario = load_scenario(named).model_copy(update={"draws": 400})
    return business_case(world(), default_book(), CostConfig(), scenario, date(2026, 11, 26))


def write_results(folder: Path, pipeline: str, store: str, run_id: str) -> Path:
    """The records of a run of `world`, as a results folder."""
    seen = world()
    run = RunRecord(
        pipeline=pipeline,
        task="classification",
        run_id=run_id,
        store=store,
        started_at="2026-11-24T09:30:00+00:00",
        release_seed=1,
        policy_digest=SHA,
        design_digest=SHA,
        test_digest=SHA,
        data_digest=SHA,
        settings_note="",
        mlflow_hint="mlflow ui",
    )
    write_record(folder / "run.json", run)
    write_record(folder / "comparison.json", seen.comparison)
    for found in seen.cells:
        write_record(folder / "measurements" / f"{found.cell.name}.json", found)
        write_record(folder / "benchmark" / f"{found.cell.name}.json", _scores(found))
    return folder


def _scores(found: Measurements) -> CellScores:
    return CellScores(
        cell=found.cell,
        artifact_digest=SHA,
        test_digest=SHA,
        predictions_digest=SHA,
        examples=600,
        metrics={"accuracy": 0.9},
        robustness={},
        classes=(),
        slices=(),
        latency_ms={},
        changed_against_base=1.0,
        forgetting=Forgetting(
            kind="vector_drift", value=0.0, trained=None, base=None, sentences=1, tokens=9, text_digest=SHA
        ),
        wall_seconds=18.0,
    )
