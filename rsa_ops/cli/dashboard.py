"""`rsa-ops dashboard`: a read-only view of all runs, for this machine only unless told otherwise."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sysconfig
from pathlib import Path
from typing import Annotated

import typer

from rsa_ops.cli.output import LedgerAddress, print_note
from rsa_ops.errors import ExitCode, MissingError, UsageError

LANGUAGES = ("en", "ja")
FIRST_PAGE = ("rsa_ops.stages.portfolio", "numpy", "PIL.Image")
"""What the first page imports, and Streamlit for its icon; pages themselves ask for a running server."""
SETTINGS = {
    "browser.gatherUsageStats": False,
    "server.headless": True,
    "server.fileWatcherType": "none",
    # A full garbage collection after every page walks all that was imported, while the browser asks for files.
    "runner.postScriptGC": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "theme.base": "light",
    "theme.primaryColor": "#1f5fa8",
    "theme.textColor": "#1c2733",
    "theme.secondaryBackgroundColor": "#f5f7f9",
}
"""Nothing is sent anywhere, and no traceback is shown to a reader."""


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("dashboard")(dashboard)


def dashboard(
    store: Annotated[
        str | None, typer.Option(help="MLflow store, or a working folder; default: MLFLOW_TRACKING_URI, or here.")
    ] = None,
    ledger: LedgerAddress = None,
    lang: Annotated[str | None, typer.Option(help="ja or en; default: the locale's.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Where to listen. There is no login: put one before it.")
    ] = "127.0.0.1",
) -> int:
    """Show models, verdicts, costs and the audit trail of all runs in the browser. Ends with Ctrl-C."""
    from rsa_ops.stages.decision import locale_language
    from rsa_ops.stages.portfolio import find_ledger, find_store

    language = lang or locale_language()
    if language not in LANGUAGES:
        raise UsageError(f"no language {language!r}", hint=f"One of {', '.join(LANGUAGES)}.")
    if importlib.util.find_spec("streamlit") is None:
        raise MissingError("streamlit is not installed", hint="pip install 'rsa-ops[dashboard]'")
    uri = find_store(store)
    arguments = [uri, find_ledger(ledger, uri) or "", language]
    print_note(f"http://{address}:{port}  (Ctrl-C ends it)")
    serve(dashboards_folder() / "app.py", arguments, {**SETTINGS, "server.port": port, "server.address": address})
    return int(ExitCode.DONE)


def serve(script: Path, arguments: list[str], settings: dict[str, object]) -> None:
    """Serve a Streamlit script in this process until it is interrupted; its first argument is the MLflow store."""
    from streamlit.web import bootstrap

    warm_up(arguments[0])
    options = {name.replace(".", "_"): value for name, value in settings.items()}
    bootstrap.load_config_options(options)
    bootstrap.run(str(script), is_hello=False, args=arguments, flag_options=options)


def warm_up(store: str) -> None:
    """Do before what the first page would do once, so that the first reader does not wait for it."""
    from rsa_ops.tracking.listing import warm_up as warm_up_listing

    warm_up_listing(store)
    for name in FIRST_PAGE:
        importlib.import_module(name)
    # Streamlit looks at the stack once, when its first element is sent, and Python then looks up the file of every
    # module, a fifth of a second; it remembers them.
    inspect.stack()


def dashboards_folder() -> Path:
    """Where the pages lie: beside the package, or where the wheel put them.

    Raises:
        MissingError: in neither place.
    """
    beside = Path(__file__).resolve().parents[2] / "dashboards"
    installed = Path(sysconfig.get_path("data")) / "share" / "rsa_ops" / "dashboards"
    for folder in (beside, installed):
        if (folder / "app.py").is_file():
            return folder
    raise MissingError(f"the pages are neither in {beside} nor in {installed}", hint="Install rsa-ops again.")
