"""The report of a run as one HTML file that needs no network: records in, page out.

plotly.js travels inside once, compressed (about 2 MB), and is unpacked by the browser; where that is not
possible, or on a reader without scripts, the tables hold every number. A content policy in the page itself
forbids any load from elsewhere.
"""

from __future__ import annotations

import base64
import gzip
from functools import cache
from typing import Any

from rsa_ops.reporting import figures, notes, spending, text, views
from rsa_ops.reporting.families import family_lines
from rsa_ops.reporting.figures import Chart
from rsa_ops.reporting.forest import forests, slice_forests
from rsa_ops.reporting.forest_svg import forest_svg
from rsa_ops.reporting.inputs import ReportInputs

_TEMPLATE = "report.html.j2"


def render_report(records: ReportInputs) -> str:
    """The whole page. All text from records is escaped; the same records give the same bytes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rsa_ops.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sentence"] = text.sentence
    charts = _charts(records)
    context = {
        **_words(records),
        **_tables(records),
        "charts": charts,
        "forests": _forests(records, "forest"),
        "slice_forests": _forests(records, "slice-forest"),
        "plotly": _plotly() if charts else "",
    }
    return environment.get_template(_TEMPLATE).render(context)


def _words(records: ReportInputs) -> dict[str, Any]:
    return {
        "records": records,
        "decision": notes.decision(records),
        "answers": views.answers(records.comparison) if records.comparison else (),
        "key_figures": notes.key_figures(records),
        "unknowns": notes.unknowns(records),
        "compared": notes.compared(records),
        "provenance": notes.provenance(records),
        "efforts": _efforts(records),
        "families": family_lines(records.comparison) if records.comparison else (),
    }


def _efforts(records: ReportInputs) -> tuple[str, ...]:
    told = dict.fromkeys(cell.effort for cell in records.measurements)
    return tuple(effort for effort in told if effort not in records.settings_note)


def _tables(records: ReportInputs) -> dict[str, Any]:
    comparison, tco = records.comparison, records.tco
    candidate = comparison.candidate if comparison else None
    validation = records.validation
    return {
        "rulings": views.rulings(records.verdict) if records.verdict else None,
        "arms": views.arms(records),
        "contrasts": views.contrasts(comparison) if comparison else None,
        "slices": views.slices(comparison) if comparison else None,
        "classes": views.classes(comparison, records.scores) if comparison else None,
        "robustness": views.robustness(comparison) if comparison else None,
        "cost_totals": spending.cost_totals(tco, candidate) if tco else None,
        "cost_lines": spending.cost_lines(tco) if tco else None,
        "price_sources": spending.price_sources(tco) if tco else None,
        "measured_share": text.share(tco.measured_share) if tco else "",
        "effort": spending.effort(records.measurements),
        "findings": views.findings(validation) if validation else None,
    }


def _charts(records: ReportInputs) -> dict[str, Chart]:
    made: list[Chart | None] = []
    if records.comparison:
        made += [
            figures.seed_dots(records.comparison, records.scores),
            figures.slice_dots(records.comparison),
            figures.robustness_dots(records.comparison),
        ]
    if records.tco:
        made.append(figures.cost_bars(records.tco))
    return {chart.name: chart for chart in made if chart}


def _forests(records: ReportInputs, name: str) -> tuple[tuple[str, str], ...]:
    if records.comparison is None:
        return ()
    found = forests(records.comparison) if name == "forest" else slice_forests(records.comparison)
    return tuple((entry.title, forest_svg(entry, f"{name}-{index}")) for index, entry in enumerate(found))


@cache
def _plotly() -> str:
    """plotly.js, gzip and base64. `mtime=0` keeps the bytes the same from run to run."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode("utf-8"), 9, mtime=0)).decode("ascii")
