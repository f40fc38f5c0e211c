"""Measured usage x price book -> line items -> total cost. No clock, no look-ups, no disk but the price book's."""

from rsa_ops.costs.config import CostConfig
from rsa_ops.costs.pricebook import FxRate, OwnedMachine, PriceBook, PriceLine, default_book, load_book, overridden
from rsa_ops.costs.tco import total_cost

__all__ = [
    "CostConfig",
    "FxRate",
    "OwnedMachine",
    "PriceBook",
    "PriceLine",
    "default_book",
    "load_book",
    "overridden",
    "total_cost",
]
