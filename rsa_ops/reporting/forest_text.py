"""A forest plot in letters: for terminals of 80 columns and for pull requests."""

from __future__ import annotations

from dataclasses import dataclass

from rsa_ops.reporting import text
from rsa_ops.reporting.forest import Forest, ForestRow, decided, harmful, plain, signed

_LEAST_PLOT = 20
_LEAST_LABEL = 12


@dataclass(frozen=True)
class Letters:
    """What the parts of the plot are drawn with; each is one column wide."""

    line: str
    left: str
    right: str
    margin: str
    zero: str
    crossing: str
    fine: str
    harm: str
    open: str


UNICODE = Letters("─", "├", "┤", "┊", "│", "┼", "●", "◆", "○")
ASCII = Letters("-", "[", "]", ":", "|", "+", "*", "#", "o")


@dataclass(frozen=True)
class _Columns:
    """Widths of the four columns, in letters of the terminal."""

    label: int
    plot: int
    shown: int
    verdict: int


def forest_text(forest: Forest, *, width: int = 80, letters: Letters = UNICODE) -> str:
    """The plot as lines of at most `width` columns: label, interval, numbers, verdict.

    An end of an interval never shares a column with a margin or a zero that it does not touch. The minus sign of
    `ASCII` is a hyphen.
    """
    columns = _columns(forest, width)
    lines = [*_wrapped(plain(f"{forest.title}, {forest.unit}"), width), _header(forest, columns)]
    for row in forest.rows:
        lines += _lines(row, forest, columns, letters)
    if forest.omitted:
        lines.append(f"and {forest.omitted} more, in the table")
    lines += ["", *_legend(letters, width)]
    drawn = "\n".join(line.rstrip() for line in lines)
    return drawn if letters is not ASCII else drawn.replace(text.MINUS, "-").replace(text.MISSING, "-")


def _columns(forest: Forest, width: int) -> _Columns:
    shown = max((_cells(plain(row.shown)) for row in forest.rows), default=0)
    verdict = max((_cells(plain(row.verdict)) for row in forest.rows), default=0)
    wanted = max((_cells(plain(row.label)) for row in forest.rows), default=0)
    rest = width - verdict - 2 - (shown + 1 if shown else 0)
    label = max(min(wanted, rest - _LEAST_PLOT), _LEAST_LABEL)
    return _Columns(label=label, plot=max(rest - label, 1), shown=shown, verdict=verdict)


def _header(forest: Forest, columns: _Columns) -> str:
    """Zero and the margin, where all rows have the same, above their columns."""
    marks = {_place(0.0, forest, columns.plot): "0"}
    if forest.common_margin is not None:
        marks[_place(forest.common_margin, forest, columns.plot)] = signed(forest.common_margin)
    line = " " * (columns.label + 1)
    for place, words in sorted(marks.items()):
        start = columns.label + 1 + place - (len(words) - 1) // 2
        line = f"{line.ljust(start) if len(line) < start else line + ' '}{words}"
    return line


def _lines(row: ForestRow, forest: Forest, columns: _Columns, letters: Letters) -> list[str]:
    first, *others = _wrapped(plain(row.label), columns.label)
    cells = [_padded(first, columns.label), _plot(row, forest, columns.plot, letters)]
    cells += [_padded(plain(row.shown), columns.shown)] if columns.shown else []
    return [" ".join([*cells, plain(row.verdict)]), *others]


def _plot(row: ForestRow, forest: Forest, width: int, letters: Letters) -> str:
    zero, margin = _place(0.0, forest, width), _place(row.margin, forest, width)
    drawn = [" "] * width
    drawn[margin], drawn[zero] = letters.margin, letters.zero
    if row.estimate is None or row.low is None or row.high is None:
        return "".join(drawn)
    borders = ((row.margin, margin), (0.0, zero))
    low, high = (_apart(end, _place(end, forest, width), borders, width) for end in (row.low, row.high))
    for place in range(low, high + 1):
        drawn[place] = letters.line if drawn[place] == " " else letters.crossing
    drawn[low], drawn[high] = letters.left, letters.right
    mark = letters.harm if harmful(row.verdict) else letters.fine if decided(row.verdict) else letters.open
    drawn[min(max(_place(row.estimate, forest, width), low), high)] = mark
    return "".join(drawn)


def _apart(end: float, place: int, borders: tuple[tuple[float, int], ...], width: int) -> int:
    """`place`, moved off the column of a border that `end` does not lie on, to the side on which it lies."""
    for border, column in borders:
        if place == column and end != border:
            return min(max(place + (1 if end > border else -1), 0), width - 1)
    return place


def _place(value: float, forest: Forest, width: int) -> int:
    low, high = forest.span
    return min(int((value - low) / (high - low) * width), width - 1)


def _legend(letters: Letters, width: int) -> list[str]:
    marks = {
        letters.margin: "margin",
        letters.zero: "no difference",
        letters.fine: "not worse",
        letters.harm: "worse by more than the margin",
        letters.open: "open",
    }
    lines = [""]
    for entry in (f"{mark} {words}" for mark, words in marks.items()):
        fits = not lines[-1] or len(lines[-1]) + 2 + len(entry) <= width
        lines = [*lines[:-1], f"{lines[-1]}  {entry}".lstrip()] if fits else [*lines, entry]
    return lines


def _wrapped(words: str, width: int) -> list[str]:
    """`words` on lines of `width` columns, broken at blanks where that is possible."""
    lines = [""]
    for word in words.split(" "):
        if lines[-1] and _cells(lines[-1]) + 1 + _cells(word) <= width:
            lines[-1] += f" {word}"
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if _cells(lines[-1]) + _cells(letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _padded(words: str, width: int) -> str:
    return words + " " * max(0, width - _cells(words))


def _cells(words: str) -> int:
    from rich.cells import cell_len

    return cell_len(words)
