"""The `data.checks:` section: one entry for each check, with its severity and its parameters."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from rsa_ops.core.record import Value
from rsa_ops.core.validation import Severity


def _yaml_off(value: object) -> object:
    return "off" if value is False else value


Level = Annotated[Severity, BeforeValidator(_yaml_off)]
"""A severity as YAML writes it: a bare `off` is read as false there."""


class Check(Value):
    """A check without parameters. `refuse` stops the run, `warn` is reported, `off` is not checked."""

    severity: Level = "refuse"


class NullsCheck(Check):
    """Rows without text or without label. Where they are not refused they are left out."""


class LabelSetCheck(Check):
    """Labels of validation and test that training does not have; with `labels`, any label outside them."""

    labels: tuple[str, ...] | None = None


class ClassFloorCheck(Check):
    """Labels with fewer than `min_rows` rows in the training split."""

    min_rows: int = Field(default=5, ge=1)


class TextLengthCheck(Check):
    """Texts with fewer than `min_characters` or more than `max_characters` characters."""

    severity: Level = "warn"
    min_characters: int = Field(default=1, ge=0)
    max_characters: int = Field(default=20_000, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_characters > self.max_characters:
            raise ValueError("`min_characters` is above `max_characters`")
        return self


class DuplicatesCheck(Check):
    """The same text twice in one split (for generation: the same text with the same target)."""

    severity: Level = "warn"


class LeakageCheck(Check):
    """The same text in two splits. With `drop`, such rows are left out of the earlier split, and reported."""

    drop: bool = False


class NearDuplicatesCheck(Check):
    """Texts whose character 5-grams overlap by `threshold` (Jaccard) or more, in one split and across splits."""

    severity: Level = "warn"
    severity_across: Level = "warn"
    threshold: float = Field(default=0.9, ge=0.5, le=1)


class ConflictsCheck(Check):
    """The same text with different labels (classification only)."""


class PiiCheck(Value):
    """Personal data in texts and reference texts: a severity for each pattern."""

    email: Level = "warn"
    phone: Level = "warn"
    card: Level = "refuse"
    my_number: Level = "refuse"


class DriftCheck(Check):
    """Population stability index of labels and of text lengths against `reference`, a source like the main one."""

    severity: Level = "warn"
    reference: str | None = None
    label_psi: float = Field(default=0.25, gt=0)
    text_length_psi: float = Field(default=0.25, gt=0)


class PinnedCheck(Check):
    """A hub source without a revision: the same name may mean other rows tomorrow."""

    severity: Level = "warn"


class ChecksConfig(Value):
    """All checks; what is left out has the defaults shown here."""

    nulls: NullsCheck = NullsCheck()
    label_set: LabelSetCheck = LabelSetCheck()
    class_floor: ClassFloorCheck = ClassFloorCheck()
    text_length: TextLengthCheck = TextLengthCheck()
    duplicates: DuplicatesCheck = DuplicatesCheck()
    leakage: LeakageCheck = LeakageCheck()
    near_duplicates: NearDuplicatesCheck = NearDuplicatesCheck()
    conflicts: ConflictsCheck = ConflictsCheck()
    pii: PiiCheck = PiiCheck()
    drift: DriftCheck = DriftCheck()
    pinned: PinnedCheck = PinnedCheck()
