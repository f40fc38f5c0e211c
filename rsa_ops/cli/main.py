"""The command `rsa-ops`: its subcommands, and the one edge where errors become exit codes."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from rsa_ops.cli import (
    alone,
    audit,
    dashboard,
    evidence,
    initialise,
    keys,
    models,
    planning,
    promote,
    running,
    upkeep,
)
from rsa_ops.errors import EXIT_MEANINGS, ExitCode, RsaOpsError

EPILOG = "Exit codes: " + " · ".join(f"{int(code)} {words}" for code, words in EXIT_MEANINGS.items())

app = typer.Typer(
    name="rsa-ops",
    help="Train sparse adapters, prove them by statistics, price them, and gate their promotion.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
running.add_to(app)
initialise.add_to(app)
planning.add_to(app)
alone.add_to(app)
audit.add_to(app)
keys.add_to(app)
promote.add_to(app)
evidence.add_to(app)
dashboard.add_to(app)
upkeep.add_to(app)
models.add_to(app)


def main() -> None:
    """Run the command line and exit with a code of the table."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    sys.exit(int(_run()))


def _run() -> int:
    try:
        code = app(standalone_mode=False)
    except RsaOpsError as error:
        return _complain(error.message, error.hint, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except Exception as error:
        return _unexpected(error)
    if code == ExitCode.INTERRUPTED:  # typer makes a Ctrl-C into this code, and says nothing
        return _interrupted()
    return int(code) if isinstance(code, int) else int(ExitCode.DONE)


def _interrupted() -> int:
    return _complain("interrupted", "Finished work is kept; the same command goes on.", ExitCode.INTERRUPTED)


def _unexpected(error: Exception) -> int:
    show = getattr(error, "show", None)
    if callable(show) and hasattr(error, "exit_code"):  # the parser's own errors, whichever click typer carries
        show(sys.stderr)
        return int(ExitCode.USAGE)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has left
        return int(ExitCode.DONE)
    if isinstance(error, OSError) and error.filename:
        return _complain(f"{error.filename}: {error.strerror}", "", ExitCode.MISSING)
    traceback.print_exception(error)
    return _complain("this is a bug in rsa_ops", "Please report it with the lines above.", ExitCode.BUG)


def _complain(message: str, hint: str, code: ExitCode) -> int:
    sys.stderr.write(f"error: {message}\n")
    if hint:
        sys.stderr.write(f"  {hint}\n")
    return int(code)
