"""Records -> HTML, Markdown, JUnit and terminal tables. Formats; the only arithmetic is means over seeds."""

from rsa_ops.reporting.html import render_report
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.reporting.junit import verdict_junit
from rsa_ops.reporting.markdown import COMMENT_MARKER, verdict_markdown
from rsa_ops.reporting.terminal import (
    arms_table,
    contrasts_table,
    costs_table,
    findings_table,
    rulings_table,
)

__all__ = [
    "COMMENT_MARKER",
    "ReportInputs",
    "arms_table",
    "contrasts_table",
    "costs_table",
    "findings_table",
    "render_report",
    "rulings_table",
    "verdict_junit",
    "verdict_markdown",
]
