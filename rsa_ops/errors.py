"""The exception tree and the exit-code table; nothing else.

RsaOpsError
├── UsageError            2   a command line, a file or an argument that cannot be right
│   └── ConfigError       2   one or more problems in a configuration file, all of them at once
├── DataRefused           3   the data is not fit for training or judging
├── RejectedError         4   an action that stands on a verdict which rejects
├── InconclusiveError     5   an action that stands on a verdict which decides nothing
├── IntegrityError        6   bytes or digests that do not agree with what was recorded
├── ConflictError         7   somebody else changed what this action relied on
└── MissingError          8   something needed is not there (a file, a package, a metric, a service)
    └── CellFailed        8   a training or benchmark cell ended without a result

A verdict is not an error: the gate answers with `ExitCode.REJECTED` or `ExitCode.INCONCLUSIVE`. To act on such a
verdict is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command tells its caller; one table for every command."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA_REFUSED = 3
    REJECTED = 4
    INCONCLUSIVE = 5
    INTEGRITY = 6
    CONFLICT = 7
    MISSING = 8
    INTERRUPTED = 130


EXIT_MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done, or promote",
    ExitCode.BUG: "a bug in rsa_ops",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.DATA_REFUSED: "data refused",
    ExitCode.REJECTED: "gate: rejected",
    ExitCode.INCONCLUSIVE: "gate: inconclusive",
    ExitCode.INTEGRITY: "integrity broken",
    ExitCode.CONFLICT: "conflict or stale plan",
    ExitCode.MISSING: "something needed is missing",
    ExitCode.INTERRUPTED: "interrupted",
}


class RsaOpsError(Exception):
    """Base of every error that a user can meet.

    `message` says what was expected, what was found and where; `hint` says what to do next.
    """

    exit_code = ExitCode.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries in worker pools; keyword-only arguments need this.
        return (_rebuild, (type(self), self.message, self.hint))

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


def _rebuild(kind: type[RsaOpsError], message: str, hint: str) -> RsaOpsError:
    return kind(message, hint=hint)


class UsageError(RsaOpsError):
    """A command line, a path or an argument that cannot be right."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a configuration: where (`data.split.test`, line) and what."""

    where: str
    what: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, " if self.line is not None else ""
        return f"{place}{self.where}: {self.what}"


class ConfigError(UsageError):
    """Every problem of one configuration file at once."""

    def __init__(self, source: str, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{source}: {_count(len(problems))}\n{listed}", hint=hint)
        self.source = source
        self.problems = problems

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_config, (self.source, self.problems, self.hint))


def _rebuild_config(source: str, problems: tuple[Problem, ...], hint: str) -> ConfigError:
    return ConfigError(source, problems, hint=hint)


def _count(problems: int) -> str:
    return "1 problem" if problems == 1 else f"{problems} problems"


class DataRefused(RsaOpsError):  # noqa: N818  the field's word
    """The data is not fit for training or judging."""

    exit_code = ExitCode.DATA_REFUSED


class RejectedError(RsaOpsError):
    """An action stands on a verdict that rejects, and nothing waives that."""

    exit_code = ExitCode.REJECTED


class InconclusiveError(RsaOpsError):
    """An action stands on a verdict that decides nothing, and nothing waives that."""

    exit_code = ExitCode.INCONCLUSIVE


class IntegrityError(RsaOpsError):
    """Bytes or digests that do not agree with what was recorded, or results that are no numbers."""

    exit_code = ExitCode.INTEGRITY


class ConflictError(RsaOpsError):
    """Somebody else changed what this action relied on."""

    exit_code = ExitCode.CONFLICT


class MissingError(RsaOpsError):
    """Something needed is not there: a file, a package, a metric, a service, disk space."""

    exit_code = ExitCode.MISSING


class CellFailed(MissingError):  # noqa: N818  the field's word
    """A training or benchmark cell ended without a result; the message is the reason."""
