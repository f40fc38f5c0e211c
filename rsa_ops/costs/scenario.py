"""A scenario: how a model will be used, as numbers with a range, a basis and a source each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from rsa_ops.config import load_config, read_config
from rsa_ops.core.business_case import InputUsed
from rsa_ops.core.costs import Basis
from rsa_ops.core.money import Currency
from rsa_ops.core.record import Record, Value
from rsa_ops.errors import MissingError

EMBEDDED = ("pilot", "department", "company")


class Assumption(Value):
    """A number and the range it may lie in. `source` says who says so, or why it is assumed."""

    value: Decimal
    low: Decimal
    high: Decimal
    basis: Literal[Basis.MEASURED, Basis.QUOTED, Basis.ASSUMED]
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"low <= value <= high does not hold: {self.low}, {self.value}, {self.high}")
        return self


class AtLeastZero(Assumption):
    """An assumption that cannot be negative."""

    low: Decimal = Field(ge=0)


class AtLeastOne(Assumption):
    """An assumption of at least 1: a count of what there is one of, or a multiplier of what must be done once."""

    low: Decimal = Field(ge=1)


class AboveZero(Assumption):
    """An assumption that something is divided by, or that a price is multiplied by."""

    low: Decimal = Field(gt=0)


class Inputs(Value):
    """What the cost of ownership depends on. One variant is one task with one model; rates are for each variant.

    `variants`: models that are kept, one base under all adapters. `requests_per_month`: for each variant.
    `trainings_per_year`: retrainings of each variant. `tries_per_training`: trainings paid for one that is kept:
    failures and searches. `requalifications_per_year`: how often the baseline is trained again, with all seeds,
    to compare the candidate with; only the candidate pays it. `versions_kept`: stored versions of each variant,
    each in `copies`. `sites`: places that every new version is sent to. `requests_per_replica`: what one serving
    machine answers in a month; `replica_hours`: hours that it is paid for in a month, busy or not.
    `adapters_per_replica`: variants that share one machine where they are adapters. `labels_per_training`,
    `label_seconds`: new labels for each retraining. `engineer_hours`: for each training. `governance_hours`:
    approval, model card and audit for each version. `adoption_hours`: once, to introduce the candidate's method.
    `cost_per_wrong_answer`: in the scenario's currency. `discount_rate`: yearly. The three factors multiply
    prices: machines, wages, and what is in the other currency.
    """

    variants: AtLeastOne
    requests_per_month: AtLeastZero
    trainings_per_year: AtLeastZero
    tries_per_training: AtLeastOne
    requalifications_per_year: AtLeastZero
    versions_kept: AtLeastOne
    copies: AtLeastOne
    sites: AtLeastZero
    requests_per_replica: AboveZero
    replica_hours: AtLeastZero
    adapters_per_replica: AtLeastOne
    labels_per_training: AtLeastZero
    label_seconds: AtLeastZero
    engineer_hours: AtLeastZero
    governance_hours: AtLeastZero
    adoption_hours: AtLeastZero
    cost_per_wrong_answer: AtLeastZero
    discount_rate: AboveZero
    machine_price_factor: AboveZero
    wage_factor: AboveZero
    exchange_rate_factor: AboveZero

    def each(self) -> Iterator[tuple[str, Assumption]]:
        """Every input with its name, in order."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)

    def values(self) -> dict[str, Decimal]:
        """The values by name."""
        return {name: entry.value for name, entry in self.each()}


UNITS: Mapping[str, str] = {
    "variants": "models",
    "requests_per_month": "requests/month",
    "trainings_per_year": "/year",
    "tries_per_training": "trainings",
    "requalifications_per_year": "/year",
    "versions_kept": "versions",
    "copies": "copies",
    "sites": "sites",
    "requests_per_replica": "requests/month",
    "replica_hours": "hours/month",
    "adapters_per_replica": "models",
    "labels_per_training": "labels",
    "label_seconds": "s",
    "engineer_hours": "hours",
    "governance_hours": "hours",
    "adoption_hours": "hours",
    "cost_per_wrong_answer": "currency",
    "discount_rate": "/year",
    "machine_price_factor": "×",
    "wage_factor": "×",
    "exchange_rate_factor": "×",
}


class Scenario(Record):
    """A scenario file.

    `serving_line` names the price of the machine that serves. `include_energy`: only for machines that you own,
    because a rented hour contains its energy. `pue`: power usage effectiveness of that machine room.
    """

    schema_: Literal["rsa_ops/scenario/v1"] = Field(default="rsa_ops/scenario/v1", alias="schema")

    id: str
    title: str
    currency: Currency
    horizon_months: int = Field(ge=1, le=240)
    serving_line: str
    include_energy: bool = False
    pue: Decimal = Field(default=Decimal(1), ge=1, le=3)
    draws: int = Field(default=10_000, ge=100, le=1_000_000)
    seed: int = 20261124
    inputs: Inputs

    def used(self) -> tuple[InputUsed, ...]:
        """The inputs as a record shows them."""
        return tuple(
            InputUsed(
                name=name,
                value=entry.value,
                low=entry.low,
                high=entry.high,
                unit=self.currency if UNITS[name] == "currency" else UNITS[name],
                basis=entry.basis,
                source=entry.source,
            )
            for name, entry in self.inputs.each()
        )


def load_scenario(named: str, folder: Path | None = None) -> Scenario:
    """An embedded scenario by its name, or the YAML file `named`, looked for in `folder` first.

    Raises:
        MissingError: neither. ConfigError: not a scenario (each problem with its line).
    """
    if named in EMBEDDED:
        text = resources.files("rsa_ops.costs.scenarios").joinpath(f"{named}.yaml").read_text(encoding="utf-8")
        return load_config(Scenario, text, f"{named}.yaml")
    places = [place / named for place in (folder, Path()) if place is not None]
    for place in places:
        if place.is_file():
            return read_config(Scenario, place)
    raise MissingError(f"no scenario {named!r}", hint=f"One of {', '.join(EMBEDDED)}, or a YAML file of your own.")
