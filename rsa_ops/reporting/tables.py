"""What a table of the HTML report is, and the tone of each answer and outcome."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsa_ops.core.estimate import Answer
from rsa_ops.core.verdict import Outcome

TONES = {
    Outcome.PROMOTE: "good",
    Outcome.REJECT: "bad",
    Outcome.INCONCLUSIVE: "unsure",
    Outcome.ERROR: "bad",
    Answer.NON_INFERIOR: "good",
    Answer.SUPERIOR: "good",
    Answer.INFERIOR: "bad",
    Answer.INCONCLUSIVE: "unsure",
    Answer.INVALID: "bad",
}
OUTCOME_WORDS = {
    Outcome.PROMOTE: "Promote",
    Outcome.REJECT: "Do not promote",
    Outcome.INCONCLUSIVE: "Not decided",
    Outcome.ERROR: "Not judged: the evidence is broken or missing",
}


@dataclass(frozen=True)
class Entry:
    """A table cell: value, smaller note below, and `tone` (good, bad, unsure, quiet) as a badge."""

    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column is a row header. `numeric` names the columns set flush right.

    A `prose` table becomes a list of cards on a phone; any other scrolls sideways in its own frame.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    numeric: frozenset[int] = field(default_factory=frozenset)
    prose: bool = False
