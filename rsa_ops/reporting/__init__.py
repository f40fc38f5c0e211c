"""Records -> HTML, Markdown, JUnit and terminal tables. Formats; the only arithmetic is means over seeds."""

from rsa_ops.reporting.forest import Forest, ForestRow, forests, slice_forests
from rsa_ops.reporting.forest_svg import forest_svg
from rsa_ops.reporting.forest_text import ASCII, UNICODE, forest_text
from rsa_ops.reporting.html import render_report
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.reporting.junit import verdict_junit
from rsa_ops.reporting.markdown import COMMENT_MARKER, verdict_markdown
from rsa_ops.reporting.terminal import (
    arms_table,
    contrasts_plot,
    contrasts_table,
    costs_table,
    findings_table,
    rulings_table,
    slice_lines,
)

__all__ = [
    "ASCII",
    "COMMENT_MARKER",
    "UNICODE",
    "Forest",
    "ForestRow",
    "ReportInputs",
    "arms_table",
    "contrasts_plot",
    "contrasts_table",
    "costs_table",
    "findings_table",
    "forest_svg",
    "forest_text",
    "forests",
    "render_report",
    "rulings_table",
    "slice_forests",
    "slice_lines",
    "verdict_junit",
    "verdict_markdown",
]
