"""The `cost:` section of pipeline.yaml: what is assumed about use, and which price book counts."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from rsa_ops.core.money import Currency
from rsa_ops.core.record import Value


class CostConfig(Value):
    """Assumptions of the total cost; each is printed beside the line that it decides.

    `horizon_months`: how long the model is kept.
    `trainings_per_year`: retrainings while it is kept (assumed; 0 for none). One training each, not one a seed.
    `copies`: stored copies of everything that must be kept (2 is one and its backup).
    `adapters_per_base`: adapters that share one stored base model; 1 charges the whole base to this one.
    `price_book`: YAML whose lines override the embedded book's, key by key.
    `compute_line`: price line of the machine; None picks it from the measured device.
    `include_energy`: only for machines that you own. A cloud price contains the energy already.
    `scenario`: how the model will be used, for the business case: pilot, department, company, or a YAML file.
    `stale_after_days`: a price older than this is said to be stale.
    """

    currency: Currency = "JPY"
    horizon_months: int = Field(default=12, ge=1, le=240)
    trainings_per_year: Decimal = Field(default=Decimal(4), ge=0, le=100_000)
    copies: int = Field(default=2, ge=1, le=100)
    adapters_per_base: int = Field(default=1, ge=1, le=100_000)
    price_book: str | None = None
    compute_line: str | None = None
    include_energy: bool = False
    stale_after_days: int = Field(default=365, ge=1)
    scenario: str = "pilot"
