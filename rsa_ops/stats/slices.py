"""How small a slice may be: what zero losses in n examples still leave open.

Source: the exact (Clopper-Pearson) upper bound of a rate with zero events in n, 1 - alpha**(1/n), about
3/n at alpha 0.05 (the rule of three; Hanley and Lippman-Hand 1983, JAMA 249:1743).
"""

from __future__ import annotations

import math

from rsa_ops.errors import UsageError


def zero_event_bound(examples: int, alpha: float = 0.05) -> float:
    """Upper 1 - alpha bound, in (0, 1), of a rate of which `examples` examples showed no event.

    Clopper and Pearson 1934, Biometrika 26:404, with zero events: 1 - alpha**(1/examples).
    At alpha 0.05: 30 examples 9.5 %, 40 7.2 %, 100 3.0 %, 450 0.7 %.

    Raises:
        UsageError: no examples, or alpha outside (0, 1).
    """
    if examples < 1 or not 0 < alpha < 1:
        raise UsageError(f"expected examples >= 1 and 0 < alpha < 1, found {examples} and {alpha}")
    return -math.expm1(math.log(alpha) / examples)


def examples_needed_for_margin(margin: float, alpha: float = 0.05) -> int:
    """The smallest slice on which a loss above `margin` could be ruled out, were no example lost at all.

    The smallest n with 1 - alpha**(1/n) < margin (`zero_event_bound`; rule of three, Hanley and Lippman-Hand 1983).

    Raises:
        UsageError: a margin that is not above zero, or alpha outside (0, 1).
    """
    if not margin > 0 or not 0 < alpha < 1:
        raise UsageError(f"expected margin > 0 and 0 < alpha < 1, found {margin} and {alpha}")
    if margin >= 1:
        return 1
    near = max(1, math.floor(math.log(alpha) / math.log1p(-margin)) - 1)
    while zero_event_bound(near, alpha) >= margin:
        near += 1
    return near


def assessable(examples: int, margin: float, alpha: float = 0.05) -> bool:
    """Whether a slice of `examples` examples can be judged at `margin`; if not, it is NOT ASSESSABLE, never a pass.

    Where examples come in groups, `examples` is the number of groups. `examples_needed_for_margin` has the source
    (Hanley and Lippman-Hand 1983).

    Raises:
        UsageError: a margin that is not above zero, or alpha outside (0, 1).
    """
    return examples >= examples_needed_for_margin(margin, alpha)
