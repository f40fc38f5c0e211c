"""Tables of the HTML report on money and effort: cost per arm, line items, sources of prices, training."""

from __future__ import annotations

from rsa_ops.core.costs import Tco
from rsa_ops.core.measurements import Measurements
from rsa_ops.reporting import text
from rsa_ops.reporting.tables import Entry, Table


def cost_totals(tco: Tco, candidate: str | None) -> Table:
    """Per arm: cost of one training and total, and what the candidate changes."""
    own = tco.arm(candidate) if candidate else None
    rows = []
    for arm in tco.arms:
        against = own is not None and arm.arm != own.arm
        per_training = text.money_change(own.per_training, arm.per_training) if own and against else ""
        total = text.money_change(own.total, arm.total) if own and against else ""
        rows.append(
            (
                Entry(arm.arm),
                Entry(text.money(arm.per_training), f"{candidate}: {per_training}" if per_training else ""),
                Entry(text.money(arm.total), f"{candidate}: {total}" if total else ""),
            )
        )
    header = ("Arm", "One training", f"Total, {tco.horizon_months} months")
    return Table("Cost per arm, and what the candidate changes against it", header, tuple(rows), frozenset({1, 2}))


def cost_lines(tco: Tco) -> Table:
    """Every line item with the basis of quantity and price."""
    rows = tuple(
        (
            Entry(item.arm, item.category),
            Entry(item.description),
            Entry(f"{_quantity(float(item.quantity))} {item.unit}", item.quantity_basis.value),
            Entry(text.money(item.unit_price), item.price_basis.value),
            Entry(text.money(item.amount)),
        )
        for item in tco.items
    )
    header = ("Arm", "What", "Quantity", "Unit price", "Amount")
    caption = "Line items: quantity times unit price is the amount"
    return Table(caption, header, rows, frozenset({2, 3, 4}), prose=True)


def price_sources(tco: Tco) -> Table:
    """Every price that was used, once, with the source that the price book gives."""
    used = {item.source: item for item in tco.items}
    rows = tuple(
        (
            Entry(source),
            Entry(f"{text.money(item.unit_price)} per {item.unit}"),
            Entry(item.price_basis.value),
        )
        for source, item in used.items()
    )
    return Table(
        "Prices and where they come from", ("Price and source", "Price", "Basis"), rows, frozenset({1}), prose=True
    )


def effort(measurements: tuple[Measurements, ...]) -> Table | None:
    """What was spent on each cell."""
    if not measurements:
        return None
    rows = tuple(
        (
            Entry(cell.cell.name, cell.method if cell.method != cell.cell.arm else ""),
            Entry(f"{cell.learning_rate:g}"),
            Entry(f"{cell.epochs:g}", f"{cell.steps:,} steps"),
            Entry(text.count(cell.tokens)),
            Entry(text.seconds(cell.wall_seconds), _selection(cell)),
            Entry(text.count(cell.trainable_parameters), f"of {text.count(cell.total_parameters)}"),
            Entry(f"{cell.final_loss:.3f}"),
            Entry(str(cell.attempts)),
        )
        for cell in measurements
    )
    header = ("Cell", "Learning rate", "Epochs", "Tokens", "Wall time", "Trainable", "Final loss", "Attempts")
    return Table("What was spent on each cell (arm and seed)", header, rows, frozenset(range(1, 8)), prose=True)


def _selection(cell: Measurements) -> str:
    return f"{text.seconds(cell.selection_seconds)} of it selecting" if cell.selection_seconds else ""


def _quantity(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
