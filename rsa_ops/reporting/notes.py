"""The words of the HTML report around its tables: decision, key figures, what is not known, provenance."""

from __future__ import annotations

from dataclasses import dataclass

from rsa_ops.core.comparison import ALL, Comparison
from rsa_ops.core.digest import short
from rsa_ops.core.estimate import Answer
from rsa_ops.core.validation import Validation
from rsa_ops.reporting import text
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.reporting.rows import cells_of, spread
from rsa_ops.reporting.tables import OUTCOME_WORDS, TONES

_RECORDS = (
    ("validation", "the data checks"),
    ("comparison", "the comparison of the arms"),
    ("tco", "the costs"),
    ("verdict", "the verdict of the gate"),
)


@dataclass(frozen=True)
class Fact:
    """A label with its value; `note` in smaller print; `mono` for digests and commands."""

    label: str
    value: str
    note: str = ""
    mono: bool = False


@dataclass(frozen=True)
class Decision:
    """The first thing that is read: what to do, in one sentence, and how sure."""

    word: str
    tone: str
    sentence: str


def decision(inputs: ReportInputs) -> Decision:
    """The verdict in words; without one, says so instead of guessing."""
    if inputs.verdict is None:
        return Decision("No verdict", "quiet", "No gate has judged this run. The figures below are not a decision.")
    outcome = inputs.verdict.outcome
    return Decision(OUTCOME_WORDS[outcome], TONES[outcome], text.verdict_sentence(inputs.verdict))


def key_figures(inputs: ReportInputs) -> tuple[Fact, ...]:
    """Quality, size, time and cost of the candidate, each with what it must be read against."""
    comparison = inputs.comparison
    if comparison is None:
        return ()
    facts: list[Fact] = []
    arm = comparison.arm(comparison.candidate)
    metric = comparison.primary_metric
    if arm and metric in arm.metrics:
        found = arm.metrics[metric]
        note = f"{text.interval(found, metric)}, {found.confidence * 100:.0f} % interval"
        facts.append(Fact(text.metric_label(metric), text.score(found.value, metric), note))
    facts += _measured_figures(inputs, comparison)
    cost = inputs.tco.arm(comparison.candidate) if inputs.tco else None
    if inputs.tco and cost:
        against = [
            f"{text.money_change(cost.per_training, other.per_training)} against {name}"
            for name in comparison.baselines
            for other in [inputs.tco.arm(name)]
            if other
        ]
        facts.append(Fact("Cost of one training", text.money(cost.per_training), "; ".join(against)))
    return tuple(facts)


def _measured_figures(inputs: ReportInputs, comparison: Comparison) -> list[Fact]:
    cells = cells_of(inputs.measurements, comparison.candidate)
    if not cells:
        return []
    count = text.count(cells[0].trainable_parameters)
    trainable = spread([cell.trainable_share for cell in cells], text.share).value
    times = [
        f"{spread([cell.wall_seconds for cell in others], text.seconds).value} for {name}"
        for name in comparison.baselines
        for others in [cells_of(inputs.measurements, name)]
        if others
    ]
    wall = spread([cell.wall_seconds for cell in cells], text.seconds).value
    return [
        Fact("Trainable share", trainable, f"{count} parameters"),
        Fact("Training time", wall, "; ".join(times)),
    ]


def unknowns(inputs: ReportInputs) -> tuple[str, ...]:
    """What this page does not know, from the records themselves."""
    found = [f"There is no record of {what}." for field, what in _RECORDS if getattr(inputs, field) is None]
    if inputs.comparison:
        found += _undecided(inputs.comparison)
    if inputs.validation:
        found += [f"Data check “{f.check}”: {f.message}" for f in inputs.validation.findings]
    if inputs.tco:
        found += [f"Costs: {warning}." for warning in inputs.tco.warnings]
        found.append(
            f"Costs: {text.share(inputs.tco.measured_share)} of the total rests on measured quantities; "
            "people, serving and data transfer are not in it."
        )
    return tuple(found)


def _undecided(comparison: Comparison) -> list[str]:
    found = []
    unknown: dict[tuple[str, str], list[str]] = {}
    for entry in comparison.contrasts:
        if entry.result.answer in (Answer.INCONCLUSIVE, Answer.INVALID):
            where = "" if entry.population == ALL else f" on {entry.population}"
            what = f"{text.metric_label(entry.metric)}{where}, {entry.candidate} against {entry.baseline}"
            found.append(f"{what}: {entry.result.answer.value}. {text.reason(entry.result)}")
    for drop in comparison.drops:
        if drop.difference is None:
            unknown.setdefault((drop.reference, drop.reason), []).append(drop.arm)
    found += [
        f"Worst slice of {', '.join(arms)} against {reference}: not assessable. {text.sentence(reason)}"
        for (reference, reason), arms in unknown.items()
    ]
    small = dict.fromkeys(entry.slice for arm in comparison.arms for entry in arm.slices if not entry.assessable)
    if small:
        found.append(f"Slices too small to judge: {', '.join(small)}.")
    seeds = min((len(arm.seeds) for arm in comparison.arms), default=0)
    if 0 < seeds < 5:
        found.append(f"{seeds} seeds an arm: the spread between trainings is itself known only roughly.")
    return found


def compared(inputs: ReportInputs) -> tuple[Fact, ...]:
    """What was compared, on which data, and how much of it."""
    facts: list[Fact] = []
    if inputs.comparison:
        c = inputs.comparison
        facts.append(Fact("Candidate", c.candidate))
        facts.append(Fact("Baselines", ", ".join(c.baselines)))
        facts += _seed_facts(c)
        told = text.examples(c.examples, c.groups).replace("examples", "test examples", 1)
        facts.append(Fact("Judged on", f"{told}, by {text.metric_label(c.primary_metric)}"))
        facts += _design_facts(c)
    if inputs.measurements:
        bases = dict.fromkeys(cell.base_model for cell in inputs.measurements)
        devices = dict.fromkeys(cell.device for cell in inputs.measurements)
        facts.append(Fact("Base model", ", ".join(bases)))
        facts.append(Fact("Machine", ", ".join(devices)))
    if inputs.validation:
        facts += _data_facts(inputs.validation)
    told = inputs.validation.sampling if inputs.validation else ""
    if inputs.sizes_note and inputs.sizes_note != told:
        facts.append(Fact("Size of this run", inputs.sizes_note))
    return tuple(facts)


def _seed_facts(comparison: Comparison) -> list[Fact]:
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for arm in comparison.arms:
        by_seeds.setdefault(arm.seeds, []).append(arm.arm)
    return [
        Fact("Seeds", f"{', '.join(map(str, seeds))} for {', '.join(arms)}") for seeds, arms in by_seeds.items()
    ]


def _design_facts(comparison: Comparison) -> list[Fact]:
    fixed = "margins, level, seeds, slices and looks, fixed before anything was trained"
    design, look = comparison.design_digest, comparison.look
    counted = "comparisons on this test set; with more than one, the error rate holds only where looks are declared"
    return [
        Fact("Design", short(design), fixed, mono=True) if design else Fact("Design", "none was fixed beforehand"),
        Fact("Look", f"{look}", counted) if look else Fact("Look", "not counted"),
    ]


def _data_facts(validation: Validation) -> list[Fact]:
    splits = ", ".join(f"{split.rows:,} {split.name}" for split in validation.splits)
    facts = [
        Fact("Data", validation.source, validation.attribution),
        Fact("Rows", f"{validation.rows_used:,} used of {validation.rows_read:,} read", validation.sampling),
        Fact("Splits", splits),
    ]
    if validation.labels:
        facts.append(Fact("Labels", f"{len(validation.labels)}", ", ".join(validation.labels)))
    return facts


def provenance(inputs: ReportInputs) -> tuple[Fact, ...]:
    """Digests of everything that this page rests on."""
    facts: list[Fact] = []
    if inputs.verdict:
        v = inputs.verdict
        facts.append(Fact(f"Policy {v.policy}", v.policy_digest, mono=True))
        facts.append(Fact("Candidate", v.candidate_digest, mono=True))
        facts.append(Fact("Champion", v.champion_digest or "none yet", mono=v.champion_digest is not None))
    if inputs.comparison and inputs.comparison.design_digest:
        facts.append(Fact("Design of the comparison", inputs.comparison.design_digest, mono=True))
    if inputs.validation:
        facts.append(Fact("Data, all rows", inputs.validation.fingerprint, mono=True))
        facts += [Fact(f"Data, {split.name}", split.digest, mono=True) for split in inputs.validation.splits]
    bases = dict.fromkeys((cell.base_model, cell.base_digest) for cell in inputs.measurements)
    facts += [Fact(f"Base model {name}", digest, mono=True) for name, digest in bases]
    if inputs.tco:
        book = f"Price book {inputs.tco.price_book}, {inputs.tco.price_book_date}"
        facts.append(Fact(book, inputs.tco.price_book_digest, mono=True))
    facts += [Fact(f"Artifact {c.cell.name}", c.artifact_digest, mono=True) for c in inputs.measurements]
    facts.append(Fact("Made by", f"rsa_ops {inputs.version}, {inputs.generated_at}"))
    if inputs.mlflow_hint:
        facts.append(Fact("Open the runs", inputs.mlflow_hint, mono=True))
    return tuple(facts)
