"""Named checks of a fetched folder, in order; the first that fails ends it, and says its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.core.digest import Digest, short
from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError, RsaOpsError
from rsa_ops.files import digest_folder
from rsa_ops.models.base import BaseModel, resolve_base
from rsa_ops.models.trained import read_spec
from rsa_ops.serving.plain import require_plain, require_plain_base
from rsa_ops.serving.resolved import Resolved

_HINT = "It is not served. `rsa-ops rollback` goes back to a version that is as it was judged."


@dataclass(frozen=True)
class Check:
    """`run` looks at an adapter folder and says in words what it found, or raises what is wrong."""

    name: str
    run: Callable[[Path], str]


class Passed(Value):
    """A check that held: what it found, and the wall seconds that it took."""

    name: str
    found: str
    wall_seconds: float

    def __str__(self) -> str:
        return f"{self.name:18} {self.found} ({self.wall_seconds:.2f} s)"


def run_checks(folder: Path, checks: Sequence[Check], about: str) -> tuple[Passed, ...]:
    """All `checks` of `folder`, which holds the files of `about`.

    Raises:
        RsaOpsError: the first that fails, with its own exit code.
    """
    return tuple(timed(check.name, lambda check=check: check.run(folder), about) for check in checks)  # type: ignore[misc]


def timed(name: str, look: Callable[[], str], about: str) -> Passed:
    """One check, timed.

    Raises:
        RsaOpsError: what the check raises, with its name and what it is about in front.
    """
    start = time.perf_counter()
    try:
        found = look()
    except RsaOpsError as error:
        raise type(error)(f"{about}: check `{name}`: {error.message}", hint=error.hint or _HINT) from error
    return Passed(name=name, found=found, wall_seconds=time.perf_counter() - start)


def plain_files() -> Check:
    """Tensors and text, nothing that could run."""
    return Check("plain files", lambda folder: f"{require_plain(folder)} files, tensors and text alone")


def adapter_bytes(resolved: Resolved) -> Check:
    """The folder has the digest that the ledger names."""
    return Check("adapter bytes", lambda folder: _same_bytes(folder, resolved.digest))


def declared_base(resolved: Resolved) -> Check:
    """The adapter is an adapter, and says that it belongs to the base that its papers name."""

    def look(folder: Path) -> str:
        spec = read_spec(folder)
        if not spec.is_adapter:
            raise IntegrityError("it is a full checkpoint, and only adapters are served")
        if spec.base_digest != resolved.base_digest:
            raise IntegrityError(
                f"it was trained on base {short(spec.base_digest)}, its papers say {short(resolved.base_digest)}"
            )
        return f"{short(spec.base_digest)}, as its papers say"

    return Check("declared base", look)


def find_base(folder: Path, resolved: Resolved, base: str | None) -> BaseModel:
    """The base model of an adapter folder, on this machine; `base` replaces the place that the adapter names.

    Raises:
        MissingError: it is not there. IntegrityError: other bytes, a pickle, or code of its own.
    """
    found = resolve_base(base or read_spec(folder).model.base, expected=resolved.base_digest)
    require_plain_base(found.folder)
    return found


def _same_bytes(folder: Path, expected: Digest) -> str:
    found = digest_folder(folder)
    if found != expected:
        raise IntegrityError(
            f"its files are {short(found)}, the ledger names {short(expected)}",
            hint="They were changed after they were judged. `rsa-ops rollback` goes back to an intact version.",
        )
    return short(found)
