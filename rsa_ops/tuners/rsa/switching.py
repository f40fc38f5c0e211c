"""Which adapter stands in which weight: layers that take their adapter in, let it go, or write it anew, together.

A layer alone settles when its forward pass begins. Where PEFT goes through all layers of a model, one by one, their
writing is put off to the end of the round (`together`) and done at once, since on a GPU a hundred layers of small
kernels take longer to launch than to run. What is refused is refused before anything is written. How values are
written and why a weight may be out of bounds is `residency`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.residency import (
    Stamp,
    Stay,
    claim,
    leave,
    obstacle,
    other_tenant,
    release,
    rewrite,
    stand,
)


class Host(Protocol):
    """A layer as it is seen here; `Linear` says what its parts are."""

    base_layer: Any
    shared: bool
    stay: Stay | None
    stamp: Stamp

    def delta(self, adapter_name: str) -> RsaDelta:
        """The adapter's values and places."""

    def settled(self) -> bool:
        """Whether the adapter that acts stands in the weight as it is now."""

    def tenant(self) -> str | None:
        """The adapter that should be resident."""

    def strict(self, adapter_name: str) -> bool:
        """Whether the adapter may be nothing but resident."""


_LATER: ContextVar[list[Host] | None] = ContextVar("layers that settle when `together` ends", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Layers that would settle within this context settle at its end, all at once.

    After an exception they do not: each is put right by its next forward pass.
    """
    if _LATER.get() is not None:
        yield  # the outer context will do it
        return
    waiting: list[Host] = []
    token = _LATER.set(waiting)
    try:
        yield
    finally:
        _LATER.reset(token)
    settle(list(dict.fromkeys(waiting)))


def settle_soon(layer: Host) -> None:
    """Settle the layer now, or when `together` ends."""
    waiting = _LATER.get()
    if waiting is None:
        settle([layer])
    else:
        waiting.append(layer)


def settle(layers: Sequence[Host]) -> None:
    """Make every base weight hold what it should: the one active adapter, or none.

    Raises:
        RuntimeError: an adapter can not be resident where it must be, or a base can not be put back.
    """
    wishes = [(layer, _wish(layer)) for layer in layers if not layer.settled()]
    wishes = [(layer, wanted) for layer, wanted in wishes if wanted is not None or layer.stay is not None]
    if not wishes:
        return  # additive, as at every forward pass
    keeping = [layer for layer, wanted in wishes if _keeps(layer, wanted)]
    moving = [(layer, wanted) for layer, wanted in wishes if not _keeps(layer, wanted)]
    entering: dict[int, tuple[Host, str]] = {}
    met: list[Host] = []  # in one weight with a layer before them, tied when nobody looked
    for layer, wanted in moving:
        if wanted is not None:
            address = layer.base_layer.weight.data_ptr()
            if entering.setdefault(address, (layer, wanted))[0] is not layer:
                met.append(layer)
    vacate([layer for layer, _ in moving])
    _enter(list(entering.values()))
    _write_anew(keeping)
    for layer in met:
        settle([layer])


def _wish(layer: Host) -> str | None:
    """The adapter that should be resident, now that no other model's is in the way."""
    if layer.stay is None:
        make_room(layer)
    return layer.tenant()


def _keeps(layer: Host, wanted: str | None) -> bool:
    return layer.stay is not None and layer.stay.name == wanted and not layer.stay.moved()


def make_room(layer: Host) -> None:
    """Make another model's adapter leave the layer's weight, which would else be taken for the base.

    Raises:
        RuntimeError: the layer's own adapter must be resident there, too.
    """
    other = other_tenant(layer)
    if other is None:
        return
    wanted = layer.tenant()
    if wanted is not None and layer.strict(wanted):
        raise RuntimeError(
            f"adapter {wanted!r}: mode='resident', but another model's adapter is resident in the same base "
            "weight. Disable that one first, load the base twice, or use mode='auto'."
        )
    vacate([other])
    layer.shared = other.shared = True


def vacate(layers: Sequence[Host]) -> None:
    """Put base weights back, bit for bit. Adapters return with the next forward pass.

    Raises:
        RuntimeError: one can not be put back; none is then.
    """
    stays = [(layer, layer.stay) for layer in layers if layer.stay is not None]
    if not stays:
        return
    reasons = [obstacle(layer.base_layer) for layer, _ in stays]
    for (_, stay), reason in zip(stays, reasons, strict=True):
        if reason is not None and bool(stay.delta.weight.any()):
            raise RuntimeError(
                f"adapter {stay.name!r} is resident, and the base can not be put back: {reason}. Shard or convert "
                "the model inside `with model.disable_adapter():`, or use RsaConfig(mode='additive')."
            )
    leave([stay for (_, stay), reason in zip(stays, reasons, strict=True) if reason is None])
    for layer, stay in stays:
        release(layer, stay.delta)
        layer.stay = None
        layer.stamp.count += 1


def _enter(entering: Sequence[tuple[Host, str]]) -> None:
    if not entering:
        return
    stays = stand([(layer.base_layer, name, layer.delta(name)) for layer, name in entering])
    rewrite(stays)
    for (layer, _), stay in zip(entering, stays, strict=True):
        claim(layer, stay.delta)
        layer.stay = stay
        layer.stamp.count += 1


def _write_anew(layers: Sequence[Host]) -> None:
    stale = [(layer, layer.stay) for layer in layers if layer.stay is not None and not layer.stay.current()]
    if not stale:
        return
    for layer, stay in stale:
        claim(layer, stay.delta)  # loading may have put another parameter in place
        layer.stamp.count += 1
    rewrite([stay for _, stay in stale])
