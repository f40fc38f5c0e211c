"""The guard in front of an MLflow server: an ASGI layer around all of it, Flask's routes and FastAPI's.

A refused request gets MLflow's own PERMISSION_DENIED, which its client raises as a RestException. What cannot be
decided (no ledger, no store, a route or a body that nobody knows) is refused too.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rsa_ops.errors import MissingError, RsaOpsError, UsageError
from rsa_ops.tracking.guard.decision import Act, Asked, Known, Scope, refusal
from rsa_ops.tracking.guard.holdings import Shelves, with_places
from rsa_ops.tracking.guard.routes import (
    ARTIFACT_PATH,
    GUARDED,
    HARMLESS,
    HARMLESS_NATIVE,
    SAFE_METHODS,
    Call,
    UnreadableError,
    artifact_request,
    parse_body,
    parse_query,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

LARGEST_BODY = 16 * 1024 * 1024
_FILES = (Act.WRITE_FILES, Act.DELETE_FILES)
_logger = logging.getLogger("rsa_ops.guard")


class Named(Protocol):
    """What a ledger names: (model, version), (model, alias), and (run, file) of papers."""

    @property
    def versions(self) -> frozenset[tuple[str, str]]:
        """(model, version)."""
        ...

    @property
    def aliases(self) -> frozenset[tuple[str, str]]:
        """(model, alias)."""
        ...

    @property
    def papers(self) -> frozenset[tuple[str, str]]:
        """(run, file)."""
        ...


class Answers(Protocol):
    """The ledger, as far as the guard asks it."""

    def named(self) -> Named:
        """All that it names at this moment.

        Raises:
            RsaOpsError: it cannot be read.
        """
        ...

    def intended(self, model: str, alias: str) -> str | None:
        """The version that an open intent, signed by a key of the ledger, moves the alias to.

        Raises:
            RsaOpsError: it cannot be read.
        """
        ...


@dataclass(frozen=True)
class Guard:
    """The layer. `inner` is the server, `flask` its Flask part, `unknown` FastAPI routes nobody sorted in."""

    inner: Asgi
    flask: Any
    answers: Answers
    scope: Scope
    unknown: tuple[tuple[str, re.Pattern[str]], ...] = ()
    shelves: Shelves = field(default_factory=Shelves)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse, or hand on with the body as it came."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.inner(scope, receive, send)
            return
        from anyio import to_thread

        found = [self._read(scope["method"], path) for path in _paths(scope)]
        heard: list[Message] = []
        if any(callable(each) for each in found):
            heard = await _whole(receive)
        reason = await to_thread.run_sync(self._decide, scope, found, heard)
        if reason is not None:
            _logger.warning("refused %s %s: %s", scope["method"], scope["path"], reason)
            await _deny(send, reason)
            return
        await self.inner(scope, _again(heard, receive), send)

    def _read(self, method: str, path: str) -> Asked | Callable[[Call], Asked] | None:
        """What a path asks for: known, to be read with the body, or None where it is harmless or leads nowhere."""
        files = artifact_request(method, path)
        if files is not None:
            return files
        if any(method == each and pattern.fullmatch(path) for each, pattern in self.unknown):
            return Asked(Act.UNKNOWN)
        found = self._matched(method, path)
        if found is None:
            return None
        endpoint, arguments = found
        reader = GUARDED.get(endpoint)
        if reader is not None:
            return lambda call: reader(replace(call, arguments=arguments))
        return None if self._is_harmless(endpoint) else Asked(Act.UNKNOWN)

    def _matched(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        from werkzeug.exceptions import HTTPException

        try:
            return self.flask.url_map.bind("guard").match(path, method=method)  # type: ignore[no-any-return]
        except HTTPException:  # nothing there, or a redirect that comes back as a request of its own
            return None

    def _is_harmless(self, endpoint: str) -> bool:
        if endpoint in HARMLESS:
            return True
        view = self.flask.view_functions.get(endpoint)
        # Users, roles and grants of basic-auth: their own database.
        return str(getattr(view, "__module__", "")).startswith("mlflow.server.auth")

    def _decide(self, scope: Message, found: Sequence[Any], heard: Sequence[Message]) -> str | None:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        if all(each is None for each in found):
            return None
        try:
            asked = [each(_call(scope, heard)) if callable(each) else each for each in found if each is not None]
            reasons = [refusal(each, known, self.scope) for each, known in map(self._known, asked)]
        except UnreadableError as error:
            return f"a client may not {Act.UNREADABLE}: {error}"
        except RsaOpsError as error:
            return f"the ledger does not answer, and nothing is moved without it: {error.message}"
        except (MlflowException, SQLAlchemyError) as error:
            return f"the MLflow store does not answer the guard: {type(error).__name__}"
        return next(filter(None, reasons), None)

    def _known(self, asked: Asked) -> tuple[Asked, Known]:
        if asked.act in (Act.UNKNOWN, Act.UNREADABLE):
            return asked, Known()
        named = self.answers.named()
        intended = self.answers.intended(asked.models[0], asked.alias) if asked.act is Act.SET_ALIAS else None
        known = Known(named.versions, named.aliases, intended=intended)
        if asked.models or asked.act is Act.DELETE_WORKSPACE:
            return asked, known
        holdings = self.shelves.holdings(named.versions, named.papers)
        return with_places(asked) if asked.act in _FILES else asked, replace(known, holdings=holdings)


def guarded_app(answers: Answers, scope: Scope, *, basic_auth: bool = False) -> Asgi:
    """MLflow's server with the guard around it; `basic_auth` puts MLflow's own log-in behind the guard.

    Raises:
        UsageError: not under uvicorn, or workspaces are on. MissingError: basic-auth without its extra.
    """
    serving = os.environ.get("_MLFLOW_SGI_NAME", "uvicorn")
    if serving != "uvicorn":
        raise UsageError(f"the guard runs under uvicorn, not {serving}", hint="Leave out --gunicorn-opts.")
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES

    if MLFLOW_ENABLE_WORKSPACES.get():
        raise UsageError("the guard does not know workspaces", hint="Run one server for each.")
    from mlflow.server import app as flask
    from mlflow.server.fastapi_app import create_fastapi_app

    native = _with_basic_auth() if basic_auth else create_fastapi_app(flask)
    return Guard(native, flask, answers, scope, unknown=tuple(unknown_routes(native)))


def native_routes(app: Any) -> Iterator[tuple[str, str]]:
    """Method and path of every mutating route of the FastAPI part."""
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            if method.upper() not in SAFE_METHODS:
                yield method.upper(), path


def unknown_routes(app: Any) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Mutating FastAPI routes that are neither guarded nor known to be harmless."""
    prefix = os.environ.get("_MLFLOW_STATIC_PREFIX", "").rstrip("/")
    for method, path in native_routes(app):
        known = HARMLESS_NATIVE.match(path.removeprefix(prefix)) or ARTIFACT_PATH.search(path)
        if not known:
            parts = re.split(r"\{[^}]*\}", path)
            yield method, re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def _with_basic_auth() -> Any:
    try:
        from mlflow.server.auth import create_app
    except ImportError as error:
        raise MissingError("basic-auth needs Flask-WTF", hint="pip install 'rsa-ops[auth]'") from error
    return create_app()


def _paths(scope: Message) -> tuple[str, ...]:
    """The path as it came, and below uvicorn's root path."""
    path, root = str(scope["path"]), str(scope.get("root_path") or "")
    return tuple(dict.fromkeys((path, path.removeprefix(root) or "/")))


def _call(scope: Message, heard: Sequence[Message]) -> Call:
    body = b"".join(message.get("body", b"") for message in heard)
    if len(body) > LARGEST_BODY:
        raise UnreadableError(f"a body of more than {LARGEST_BODY} bytes")
    # An upload brings the file itself; what it asks is in its query.
    files = b"upload-artifact" in scope["path"].encode()
    return Call({}, parse_query(scope.get("query_string", b"")), {} if files else parse_body(body))


async def _whole(receive: Receive) -> list[Message]:
    heard, size = [], 0
    while size <= LARGEST_BODY:
        message = await receive()
        heard.append(message)
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return heard


def _again(heard: Sequence[Message], receive: Receive) -> Receive:
    waiting = list(heard)

    async def replay() -> Message:
        return waiting.pop(0) if waiting else await receive()

    return replay


async def _deny(send: Send, reason: str) -> None:
    body = json.dumps({"error_code": "PERMISSION_DENIED", "message": f"rsa-ops guard: {reason}"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
