"""The guard as MLflow starts it: `mlflow server --app-name rsa-guard`, with the ledger that the environment names.

`RSA_OPS_LEDGER` is the ledger. `RSA_OPS_GUARD_ALIASES` (default `champion`) are protected on the models that match
`RSA_OPS_GUARD_MODELS` (default `*`) before the ledger names them; what it names always is.
Both are lists with commas.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from rsa_ops.errors import UsageError
from rsa_ops.governance.protected import Protected, intended_version, protected
from rsa_ops.governance.store import Ledger, open_ledger
from rsa_ops.governance.view import View
from rsa_ops.tracking.guard.app import guarded_app
from rsa_ops.tracking.guard.decision import Scope

LEDGER = "RSA_OPS_LEDGER"
ALIASES = "RSA_OPS_GUARD_ALIASES"
MODELS = "RSA_OPS_GUARD_MODELS"


@dataclass
class LedgerAnswers:
    """The ledger at `address`, opened for reading at each question, so that it may come and go."""

    address: str
    _known: Protected = field(default_factory=Protected)

    def named(self) -> Protected:
        """All that it names at this moment; what it once named stays so while this server runs.

        Raises:
            RsaOpsError: it cannot be read.
        """
        with self._view() as view:
            self._known = protected(view, self._known)
        return self._known

    def intended(self, model: str, alias: str) -> str | None:
        """The version that an open, signed intent moves the alias to.

        Raises:
            RsaOpsError: it cannot be read.
        """
        if not model or not alias or "@" in alias:
            return None
        with self._view() as view:
            return intended_version(view, model, alias)

    @contextmanager
    def _view(self) -> Iterator[View]:
        ledger: Ledger = open_ledger(self.address, write=False)
        with closing(ledger), ledger.view() as view:
            yield view


def app() -> Any:
    """The factory behind `--app-name rsa-guard`."""
    return _made(os.environ, basic_auth=False)


def basic_auth_app() -> Any:
    """The factory behind `--app-name rsa-guard-basic-auth`: MLflow's users and grants, with the guard in front."""
    return _made(os.environ, basic_auth=True)


def scope_of(environment: Mapping[str, str]) -> Scope:
    """What is protected without the ledger, from the environment."""
    usual = Scope()
    aliases, models = _words(environment, ALIASES), _words(environment, MODELS)
    return Scope(aliases or usual.aliases, models or usual.models)


def _words(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in environment.get(name, "").split(","))))


def _made(environment: Mapping[str, str], *, basic_auth: bool) -> Any:
    address = environment.get(LEDGER, "")
    if not address:
        raise UsageError(f"{LEDGER} is not set", hint="The guard asks the ledger; name it to start the server.")
    return guarded_app(LedgerAnswers(address), scope_of(environment), basic_auth=basic_auth)
