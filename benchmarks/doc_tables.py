"""Tables of a page of the docs, written anew between their marks: `<!-- table: NAME -->` and `<!-- /table -->`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Table = tuple[list[str], list[list[str]]]
"""The head and the rows, as text."""


def markdown(table: Table) -> str:
    """The table in Markdown; the first column to the left, numbers to the right."""
    head, rows = table
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def with_tables(page: str, tables: Mapping[str, Callable[[], Table]], name_of_page: str) -> str:
    """`page` with every marked table written anew.

    Raises:
        SystemExit: the page has no place for one of them.
    """
    for name, make in tables.items():
        start, end = f"<!-- table: {name} -->", "<!-- /table -->"
        if start not in page:
            raise SystemExit(f"{name_of_page} has no place for the table {name!r}")
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}\n{markdown(make())}\n{end}{after}"
    return page
