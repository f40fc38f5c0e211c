"""Personal data in texts: e-mail addresses, phone numbers, payment cards (Luhn), My Number (check digit).

Patterns are looked for after NFKC, so that full-width digits count, and are ASCII, so that a number may touch
Japanese words. Matches are masked wherever they are shown.
My Number's check digit: ordinance of the Ministry of Internal Affairs and Communications no. 85 of 2014, article 5.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsa_ops.core.validation import Severity
from rsa_ops.data.checks.config import PiiCheck
from rsa_ops.data.checks.outcome import Outcome, counted, flag, some

if TYPE_CHECKING:
    import pandas as pd

_AROUND = 24


@dataclass(frozen=True)
class _Kind:
    """A kind of personal data: what it is called, where it may stand, and whether a match is one."""

    name: str
    words: str
    pattern: re.Pattern[str]
    is_one: Callable[[str], bool]


def luhn_valid(digits: str) -> bool:
    """Whether the last of `digits` is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def my_number_valid(digits: str) -> bool:
    """Whether the twelfth of 12 digits is the check digit of My Number (Individual Number)."""
    if len(digits) != 12:
        return False
    total = sum(
        int(digit) * (place + 1 if place <= 6 else place - 5)
        for place, digit in enumerate(reversed(digits[:11]), start=1)
    )
    return int(digits[11]) == (0 if total % 11 <= 1 else 11 - total % 11)


def pii(splits: Mapping[str, pd.DataFrame], config: PiiCheck) -> tuple[Outcome, ...]:
    """One outcome for each kind of personal data, `pii_email` and so on; targets are searched too."""
    severities: dict[str, Severity] = {
        "email": config.email,
        "phone": config.phone,
        "card": config.card,
        "my_number": config.my_number,
    }
    return tuple(_outcome(splits, kind, severities[kind.name]) for kind in _KINDS if severities[kind.name] != "off")


def find(text: str, kind: str) -> tuple[str, ...]:
    """The matches of `kind` (`email`, `phone`, `card`, `my_number`) in `text`."""
    wanted = next(known for known in _KINDS if known.name == kind)
    return tuple(match.group() for match in _matches(text, wanted))


def _outcome(splits: Mapping[str, pd.DataFrame], kind: _Kind, severity: Severity) -> Outcome:
    def has(text: str) -> bool:
        return next(_matches(text, kind), None) is not None

    flagged = {name: flag(table, "text", has) | flag(table, "label", has) for name, table in splits.items()}
    shown = (
        f"{name}: {_masked(text, kind)}"
        for name, flags in flagged.items()
        for pair in splits[name].loc[flags, ["text", "label"]].itertuples(index=False)
        for text in pair
        if has(text)
    )
    return Outcome(
        check=f"pii_{kind.name}",
        severity=severity,
        message=f"rows with what looks like {kind.words}: {counted(flagged)}",
        advice=f"Replace them before training; if they are none, set `data.checks.pii.{kind.name}: warn`.",
        flagged=flagged,
        examples=some(shown),
    )


def _matches(text: str, kind: _Kind) -> Iterator[re.Match[str]]:
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return (match for match in kind.pattern.finditer(plain) if kind.is_one(match.group()))


def _masked(text: str, kind: _Kind) -> str:
    """The surroundings of the first match, with every letter and digit of it hidden."""
    plain = unicodedata.normalize("NFKC", text)
    match = next(_matches(plain, kind))
    start, end = max(0, match.start() - _AROUND), match.end() + _AROUND
    hidden = re.sub(r"\w", "*", match.group())
    words = plain[start : match.start()] + hidden + plain[match.end() : end]
    # a second match beside the first is hidden as well
    return kind.pattern.sub(lambda found: re.sub(r"\w", "*", found.group()), words)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _is_phone(match: str) -> bool:
    digits = _digits(match)
    if match.startswith("+"):
        return 8 <= len(digits) <= 15
    if digits.startswith("0"):
        return len(digits) in (10, 11)
    return len(digits) == 10  # North American: three, three, four


def _is_card(match: str) -> bool:
    digits = _digits(match)
    return 13 <= len(digits) <= 19 and digits[0] in "23456" and len(set(digits)) > 1 and luhn_valid(digits)


def _is_my_number(match: str) -> bool:
    digits = _digits(match)
    return len(set(digits)) > 1 and my_number_valid(digits)


_KINDS = (
    _Kind(
        "email",
        "an e-mail address",
        re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?!\w)", re.ASCII),
        lambda match: not match.startswith("git@"),
    ),
    _Kind(
        "phone",
        "a phone number",
        re.compile(
            r"(?<![\w.+-])(?:\+\d{1,3}[ -]?(?:\(0?\d{1,4}\)[ -]?)?\d(?:[ -]?\d){6,12}"  # +81 90-1234-5678
            r"|0\d{1,4}-\d{1,4}-\d{3,4}|\(0\d{1,4}\) ?\d{1,4}-\d{3,4}|0[5789]0\d{8}"  # 03-1234-5678, 09012345678
            r"|\(\d{3}\) ?\d{3}-\d{4}|[2-9]\d{2}-[2-9]\d{2}-\d{4})(?![\w-])",  # (555) 123-4567
            re.ASCII,
        ),
        _is_phone,
    ),
    _Kind(
        "card",
        "a payment card number",
        re.compile(
            r"(?<![\w.-])(?:\d{13,19}|\d{4}(?:[ -]\d{4}){3}|\d{4}[ -]\d{6}[ -]\d{5})(?![\w-]|\.\d)", re.ASCII
        ),
        _is_card,
    ),
    _Kind(
        "my_number",
        "a My Number",
        re.compile(r"(?<![\w.-])(?:\d{12}|\d{4}([ -])\d{4}\1\d{4})(?!\w|[ -]\d|\.\d)", re.ASCII),
        _is_my_number,
    ),
)
