"""A forest plot as SVG: no script, no font, no file beside it; wide as its place, its letters always as large.

Positions across are percentages and positions down are pixels, so that on a phone the axis gets narrower and the
words do not. What it says is also in the words of `<desc>`, and in shapes beside the colours: it is read in grey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from rsa_ops.core.estimate import Answer
from rsa_ops.reporting.forest import ENGLISH, Forest, ForestRow, ForestWords, decided, harmful, plain, signed

_INK, _QUIET, _RULE, _ALARM, _ACCENT, _OPEN = "#1c2733", "#55626f", "#dde3e9", "#a3271e", "#1f5fa8", "#7a4f00"
_BEYOND = "#f3e4e1"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK JP', sans-serif"
_TOP, _ROW, _BOTTOM = 30, 70, 46
_EDGE = 2.0
_LABEL = 70
"""Percent of the width that a label has beside the verdict; what is longer is cut off, and whole in the table."""


def forest_svg(forest: Forest, name: str, words: ForestWords = ENGLISH) -> str:
    """The plot as one `<svg>` element. `name` tells its ids from those of other figures on the page.

    All text is escaped; the same forest gives the same letters.
    """
    bottom = _TOP + _ROW * len(forest.rows)
    title = escape(plain(f"{forest.title}, {forest.unit}"), quote=False)
    told = escape(plain(" ".join(_sentence(row, words) for row in forest.rows)), quote=False)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{bottom + _BOTTOM}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc" font-family="{_FONT}" font-size="13">'
    )
    parts = [opening, f'<title id="{name}-title">{title}</title>', f'<desc id="{name}-desc">{told}</desc>']
    parts.append(_margin_label(forest, words))
    for index, row in enumerate(forest.rows):
        parts += _row(row, forest, _TOP + _ROW * index, words)
    return "\n".join([*parts, *_axis(forest, bottom, words), "</svg>"])


@dataclass(frozen=True)
class _Pen:
    """How a line is drawn."""

    colour: str
    width: float = 1.0
    dashes: str = ""


def _line(xs: tuple[float, float], ys: tuple[float, float], pen: _Pen) -> str:
    dashes = f' stroke-dasharray="{pen.dashes}"' if pen.dashes else ""
    return (
        f'<line x1="{xs[0]:.3f}%" x2="{xs[1]:.3f}%" y1="{ys[0]:g}" y2="{ys[1]:g}" '
        f'stroke="{pen.colour}" stroke-width="{pen.width:g}"{dashes}/>'
    )


def _words(words: str, x: float, y: float, colour: str, *, anchor: str = "start", style: str = "") -> str:
    text = escape(plain(words), quote=False)
    return f'<text x="{x:.3f}%" y="{y:g}" text-anchor="{anchor}" fill="{colour}"{style}>{text}</text>'


_BOLD, _SMALL = ' font-weight="600"', ' font-size="12"'


def _row(row: ForestRow, forest: Forest, top: int, words: ForestWords) -> list[str]:
    colour, middle = _colour(row.verdict), top + 36
    zero, margin = _across(0.0, forest), _across(row.margin, forest)
    beyond, width = (0.0, margin) if row.margin < 0 else (margin, 100 - margin)
    own_margin = "" if forest.common_margin is not None else f"{words.margin} {signed(row.margin)}"
    return [
        _line((0, 100), (top, top), _Pen(_RULE)),
        f'<rect x="{beyond:.3f}%" width="{width:.3f}%" y="{middle - 11}" height="22" fill="{_BEYOND}"/>',
        _line((zero, zero), (middle - 11, middle + 11), _Pen(_INK, 1.5)),
        _line((margin, margin), (middle - 13, middle + 13), _Pen(_ALARM, 2.5, "4 3")),
        *_interval(row, forest, middle, colour),
        f'<svg y="{top}" width="{_LABEL}%" height="25">{_words(row.label, 0, 18, _INK, style=_BOLD)}</svg>',
        _words(words.verdict(row), 100, top + 18, colour, anchor="end", style=_BOLD),
        _words(" · ".join(n for n in (row.shown, own_margin, row.note) if n), 0, top + 62, _QUIET, style=_SMALL),
    ]


def _interval(row: ForestRow, forest: Forest, y: int, colour: str) -> list[str]:
    if row.estimate is None or row.low is None or row.high is None:
        return []
    low, high, at = (_across(value, forest) for value in (row.low, row.high, row.estimate))
    pen = _Pen(colour, 2)
    shape = '<path d="M0-7.5 7.5 0 0 7.5-7.5 0Z"/>' if harmful(row.verdict) else '<circle r="5.5"/>'
    fill = colour if decided(row.verdict) else "#ffffff"
    mark = f'<svg x="{at:.3f}%" y="{y}" overflow="visible" fill="{fill}" stroke="{colour}" stroke-width="2">'
    return [
        _line((low, high), (y, y), pen),
        *(_line((x, x), (y - 5, y + 5), pen) for x in (low, high)),
        f"{mark}{shape}</svg>",
    ]


def _margin_label(forest: Forest, words: ForestWords) -> str:
    if forest.common_margin is None:
        return _words(words.margins, 0, 20, _ALARM, style=_SMALL)
    label, x = f"{words.margin} {signed(forest.common_margin)}", _across(forest.common_margin, forest)
    return _words(label, x, 20, _ALARM, anchor=_anchor(x), style=_SMALL)


def _axis(forest: Forest, top: int, words: ForestWords) -> list[str]:
    parts = [_line((0, 100), (top, top), _Pen(_QUIET))]
    for value in _ticks(*forest.span):
        x = _across(value, forest)
        parts.append(_line((x, x), (top, top + 5), _Pen(_QUIET)))
        parts.append(_words(signed(value), x, top + 19, _QUIET, anchor=_anchor(x), style=_SMALL))
    more = f"; {words.more.format(count=forest.omitted)}" if forest.omitted else ""
    return [*parts, _words(f"{forest.unit}{more}", 50, top + 39, _QUIET, anchor="middle")]


def _ticks(low: float, high: float) -> list[float]:
    """Some three to six round numbers in [low, high], zero among them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _anchor(x: float) -> str:
    return "start" if x < 8 else "end" if x > 92 else "middle"


def _across(value: float, forest: Forest) -> float:
    """Position in percent of the width."""
    low, high = forest.span
    return _EDGE + (value - low) / (high - low) * (100 - 2 * _EDGE)


def _colour(verdict: str) -> str:
    if harmful(verdict) or verdict == Answer.INVALID.value:
        return _ALARM
    return _ACCENT if decided(verdict) else _OPEN


def _sentence(row: ForestRow, words: ForestWords) -> str:
    margin = f"{words.margin} {signed(row.margin)}"
    return f"{row.label}: {row.shown or words.none}, {margin}, {words.verdict(row)}."
