"""Several guardrails of one rollout, and what to do now: roll back, hold, continue or ship.

Roll back if *any* guardrail is harmed: a union, so each of G guardrails must reach e >= G / alpha (e-Bonferroni;
Vovk and Wang 2021, Ann Stat 49:1736). By Markov's and Ville's inequalities a rollout without harm is
then rolled back with probability alpha at most over its whole life, whatever the dependence between guardrails.
Ship if *all* are shown to be within their margins: an intersection, so each needs e >= 1 / alpha and no more
(Berger 1982, Technometrics 24:295). Both hold at any look, with one condition: G is fixed before the start.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Literal

from pydantic import Field

from rsa_ops.core.record import Record, Value
from rsa_ops.errors import UsageError


class Action(StrEnum):
    """What to do with the challenger now."""

    ROLLBACK = "rollback"
    HOLD = "hold"
    CONTINUE = "continue"
    SHIP = "ship"


class Guardrail(Value):
    """Evidence on one metric: natural logarithms of two e-values, zero before any data.

    `log_e_harm` speaks against "the harm is within the margin", `log_e_safe` against "it is at the margin or
    beyond". `guarantee`: whether the e-values are valid at every sample size or in the limit only.
    """

    name: str
    log_e_harm: float
    log_e_safe: float
    guarantee: Literal["exact", "asymptotic"]


class RolloutDecision(Record):
    """What `decide_rollout` says. The thresholds are natural logarithms, as the e-values are."""

    schema_: Literal["rsa_ops/rollout-decision/v1"] = Field(default="rsa_ops/rollout-decision/v1", alias="schema")

    action: Action
    reason: str
    alpha: float
    log_rollback_threshold: float
    log_ship_threshold: float
    mismatch: bool
    harmed: tuple[str, ...]
    safe: tuple[str, ...]
    guardrails: tuple[Guardrail, ...]


def decide_rollout(
    guardrails: tuple[Guardrail, ...],
    *,
    mismatch: bool,
    alpha: float = 0.05,
    on_mismatch: Action = Action.HOLD,
    hard_stops: tuple[str, ...] = (),
) -> RolloutDecision:
    """The action that the evidence of this moment asks for; the first that applies of the four below.

    e-Bonferroni (Vovk and Wang 2021, Ann Stat 49:1736) to roll back, intersection-union (Berger 1982) to ship.

    1. A hard stop, which is no statistics (a broken schema, a latency beyond its agreement): ROLLBACK.
    2. A guardrail beyond G / alpha: ROLLBACK, also under a mismatch, because to stop is the safe mistake.
    3. The arms do not get the agreed shares of the traffic (`SampleRatio.mismatch`): `on_mismatch`. The e-values
       assume these shares, so nothing is shipped.
    4. All guardrails within their margins beyond 1 / alpha: SHIP. Otherwise CONTINUE.

    Args:
        guardrails: all of the family, also those without data yet: G is their number.
        mismatch: what the sample-ratio check says.
        alpha: bound on the probability of a false rollback over the whole life, and on that of shipping harm.
        on_mismatch: HOLD, ROLLBACK or CONTINUE.
        hard_stops: what else went wrong, in words.

    Raises:
        UsageError: no guardrails, a name twice, alpha outside (0, 1), or SHIP as the answer to a mismatch.
    """
    _check(guardrails, alpha, on_mismatch)
    rollback, ship = math.log(len(guardrails) / alpha), math.log(1 / alpha)
    harmed = tuple(entry.name for entry in guardrails if entry.log_e_harm >= rollback)
    safe = tuple(entry.name for entry in guardrails if entry.log_e_safe >= ship)
    action, reason = (
        Action.CONTINUE,
        f"{len(safe)} of {len(guardrails)} guardrails are shown to be safe, none harmed",
    )
    if hard_stops:
        action, reason = Action.ROLLBACK, f"hard stop: {'; '.join(hard_stops)}"
    elif harmed:
        action, reason = Action.ROLLBACK, f"harm beyond the margin on {', '.join(harmed)}"
        reason += "; the arms also get other shares of the traffic than agreed" if mismatch else ""
    elif mismatch:
        action, reason = on_mismatch, "the arms get other shares of the traffic than agreed: repair the assignment"
    elif len(safe) == len(guardrails):
        action, reason = Action.SHIP, "every guardrail is shown to be within its margin"
    return RolloutDecision(
        action=action,
        reason=reason,
        alpha=alpha,
        log_rollback_threshold=rollback,
        log_ship_threshold=ship,
        mismatch=mismatch,
        harmed=harmed,
        safe=safe,
        guardrails=guardrails,
    )


def _check(guardrails: tuple[Guardrail, ...], alpha: float, on_mismatch: Action) -> None:
    names = [entry.name for entry in guardrails]
    if not names:
        raise UsageError("expected at least one guardrail, found none: nothing would ever stop this rollout")
    if len(set(names)) < len(names):
        raise UsageError(f"expected each guardrail once, found {', '.join(names)}: give every metric its own name")
    if not 0 < alpha < 1:
        raise UsageError(f"expected 0 < alpha < 1, found {alpha}: it is the bound on false rollbacks, 0.05 say")
    if on_mismatch is Action.SHIP:
        raise UsageError(
            "expected hold, rollback or continue on a mismatch, found ship: broken evidence ships nothing"
        )
