"""The business case as a workbook whose figures are live formulas, so that an accountant can check and change them.

Sheets: Decision (the key figures), Inputs (every assumption; the discount rate is a named cell that the others
use), Lines (quantity x price x months, rounded), Months (what the candidate saves month by month).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from rsa_ops.core.business_case import BusinessCase
from rsa_ops.reporting.decision import words_of
from rsa_ops.reporting.decision_words import DecisionWords

RATE = "discount_rate"
_FIRST = 1  # the row below a header


@dataclass(frozen=True)
class _Styles:
    head: Any
    money: Any
    exact: Any
    plain: Any


def render_workbook(case: BusinessCase, language: str) -> bytes:
    """The bytes of the .xlsx file; the same case gives the same bytes.

    Raises:
        UsageError: no such language.
    """
    import datetime as dt

    import xlsxwriter

    words = words_of(language)
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    book.set_properties({"created": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)})
    decimals = "" if case.currency == "JPY" else ".00"
    styles = _Styles(
        head=book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"}),
        money=book.add_format({"num_format": f"#,##0{decimals}"}),
        exact=book.add_format({"num_format": "#,##0.000000"}),
        plain=book.add_format({"text_wrap": True, "valign": "top"}),
    )
    names = ("Decision", "Inputs", "Lines", "Months")
    sheets = {name: book.add_worksheet(name) for name in names}
    _inputs(book, sheets["Inputs"], case, words, styles)
    _lines(sheets["Lines"], case, words, styles)
    _months(sheets["Months"], case, styles)
    _decision(sheets["Decision"], case, words, styles)
    book.close()
    return out.getvalue()


def _inputs(book: Any, sheet: Any, case: BusinessCase, words: DecisionWords, styles: _Styles) -> None:
    header = (*words.input_columns[:2], "low", "high", *words.input_columns[3:], "")
    sheet.write_row(0, 0, header, styles.head)
    for row, entry in enumerate(case.inputs, start=_FIRST):
        sheet.write(row, 0, words.inputs[entry.name], styles.plain)
        for column, number in enumerate((entry.value, entry.low, entry.high), start=1):
            sheet.write_number(row, column, float(number))
        sheet.write_row(row, 4, (words.bases[entry.basis.value], entry.source, entry.unit), styles.plain)
        book.define_name(entry.name, f"=Inputs!$B${row + 1}")
    sheet.set_column(0, 0, 34)
    sheet.set_column(5, 5, 60)


def _lines(sheet: Any, case: BusinessCase, words: DecisionWords, styles: _Styles) -> None:
    """A arm, B category, C what, D quantity, E unit, F price, G first, H last, I amount, J basis, K source."""
    labels = ("", "", "", words.line_columns[1], "", words.line_columns[2], "first", "last", words.line_columns[4])
    sheet.write_row(0, 0, (*labels, words.input_columns[3], words.input_columns[4]), styles.head)
    places = 0 if case.currency == "JPY" else 2
    for row, line in enumerate(case.lines, start=_FIRST):
        at = row + 1
        sheet.write_row(row, 0, (line.arm, words.categories[line.category], line.description), styles.plain)
        sheet.write_number(row, 3, float(line.quantity))
        sheet.write(row, 4, line.unit)
        sheet.write_number(row, 5, float(line.unit_price.amount))
        sheet.write_row(row, 6, (line.first, line.last))
        amount = f"=ROUND(D{at}*F{at}*(H{at}-G{at}+1),{places})"
        sheet.write_formula(row, 8, amount, styles.money, float(line.amount.amount))
        sheet.write_row(row, 9, (words.bases[line.quantity_basis.value], line.source), styles.plain)
    sheet.set_column(2, 2, 48)
    sheet.freeze_panes(1, 0)


def _months(sheet: Any, case: BusinessCase, styles: _Styles) -> None:
    """Columns: A month, B what the baseline costs, C what the candidate costs, D saved, E discounted."""
    sheet.write_row(0, 0, ("month", case.baseline, case.candidate, "saved", "discounted"), styles.head)
    last = _FIRST + len(case.lines)
    for month in range(case.horizon_months + 1):
        row, at = _FIRST + month, _FIRST + month + 1
        sheet.write_number(row, 0, month)
        for column, arm in ((1, case.baseline), (2, case.candidate)):
            cost = (
                f'=SUMPRODUCT((Lines!$A$2:$A${last}="{arm}")*(Lines!$G$2:$G${last}<=A{at})'
                f"*(Lines!$H$2:$H${last}>=A{at})*Lines!$D$2:$D${last}*Lines!$F$2:$F${last})"
            )
            own = (line for line in case.lines if line.arm == arm and line.first <= month <= line.last)
            sheet.write_formula(row, column, cost, styles.exact, float(sum(line.monthly for line in own)))
        saved = float(case.cash_flows[month])
        sheet.write_formula(row, 3, f"=B{at}-C{at}", styles.exact, saved)
        rate = float(case.input(RATE).value)
        discounted = saved * (1 + rate) ** (-month / 12)
        sheet.write_formula(row, 4, f"=D{at}*(1+{RATE})^(-A{at}/12)", styles.exact, discounted)
    sheet.set_column(0, 4, 18)
    sheet.freeze_panes(1, 0)


def _decision(sheet: Any, case: BusinessCase, words: DecisionWords, styles: _Styles) -> None:
    lines, months = _FIRST + len(case.lines), _FIRST + case.horizon_months + 1
    places = 0 if case.currency == "JPY" else 2

    def total(arm: str) -> str:
        return f'SUMIF(Lines!$A$2:$A${lines},"{arm}",Lines!$I$2:$I${lines})'

    invested = (
        f'SUMIFS(Lines!$I$2:$I${lines},Lines!$A$2:$A${lines},"{case.candidate}",'
        f'Lines!$B$2:$B${lines},"{words.categories["adoption"]}")'
    )
    rows = (
        (f"{words.total}: {case.candidate}", f"={total(case.candidate)}", case.arm(case.candidate).total),
        (f"{words.total}: {case.baseline}", f"={total(case.baseline)}", case.arm(case.baseline).total),
        (words.saving, f"={total(case.baseline)}-{total(case.candidate)}", case.saving),
        (words.npv, f"=ROUND(SUM(Months!$E$2:$E${months}),{places})", case.npv),
        (words.investment, f"={invested}", case.investment),
    )
    subject = words.subject.format(candidate=case.candidate, baseline=case.baseline, pipeline=case.pipeline)
    sheet.write(0, 0, subject, styles.head)
    sheet.write(0, 1, case.currency, styles.head)
    for row, (label, formula, amount) in enumerate(rows, start=_FIRST):
        sheet.write(row, 0, label, styles.plain)
        sheet.write_formula(row, 1, formula, styles.money, float(amount.amount))
    sheet.set_column(0, 0, 60)
    sheet.set_column(1, 1, 20)
