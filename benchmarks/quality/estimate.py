"""How many trials a part takes, and about how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quality.plan import PARTS, Study, fewest_trials, search, wanted
from quality.pool import score_of
from quality.records import Record

GUESSED = {"encoder": 0.0012, "causal": 0.008}
GUESSED_REST = {"encoder": 0.4, "causal": 0.6}
"""Seconds of one H100 for a step, and for all else of a trial, ten of them side by side; guesses, not measured."""
GUESSED_STEPS = {"b10": 480, "b77": 655, "e2e": 200, "e2e200": 96}


def left(study: Study, done: Mapping[str, Record]) -> int:
    """Trials that a study still needs, if its best rate lies inside what is tried."""
    scores = {key: score_of(record) for key, record in done.items()}
    found = search(study, scores)
    if found.best is not None:
        return len(wanted(study, scores))
    ours = [key for key in scores if key.startswith(f"{study.task}/{study.variant.name}/")]
    return max(len(found.missing), fewest_trials(study) - len(ours))


def table(parts: Sequence[str], done: Mapping[str, Record]) -> str:
    """One line a part: studies, trials left, minutes of the device."""
    from quality.tasks import TASKS

    lines = [f"{'part':<14}{'studies':>8}{'trials left':>13}{'minutes, about':>16}"]
    total = 0.0
    for part in parts:
        counts = [(study, left(study, done)) for study in PARTS[part]]
        seconds = sum(
            count * (GUESSED_STEPS[study.task] * GUESSED[base] + GUESSED_REST[base])
            for study, count in counts
            for base in (TASKS[study.task].base,)
        )
        total += seconds
        trials = sum(count for _, count in counts)
        lines.append(f"{part:<14}{len(counts):>8}{trials:>13}{seconds / 60:>16.1f}")
    lines.append(f"{'':<14}{'':>8}{'':>13}{total / 60:>16.1f}")
    return "\n".join(lines)


def card() -> str:
    """The card's name, asked for outside this process, which must not wake CUDA before its children do."""
    import subprocess

    query: Any = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "a CUDA device"
