"""Arrays in, `Estimate` or `PairedResult` out. No models, no I/O, no global random state.

Two questions, two functions. *Method*: does this way of training lose more than the margin? Seeds and
examples are both random and crossed: `noninferiority`. *Artifact*: does this checkpoint lose more than the
margin against that one? Only the examples are random: `artifact_noninferiority`. Metrics that are no mean
over examples go through `bootstrap_difference`, with the same crossing.
"""

from rsa_ops.stats.artifact import any_difference, artifact_noninferiority
from rsa_ops.stats.bootstrap import ArmMetric, bootstrap_difference, bootstrap_metric, multi_bootstrap
from rsa_ops.stats.crossed import mean_estimate, noninferiority
from rsa_ops.stats.inputs import aligned
from rsa_ops.stats.proportions import (
    Significance,
    bonett_price_interval,
    mcnemar_mid_p,
    newcombe_interval,
    tango_interval,
)
from rsa_ops.stats.slices import assessable, examples_needed_for_margin, zero_event_bound
from rsa_ops.stats.weighted import macro_f1, weighted_mean

__all__ = [
    "ArmMetric",
    "artifact_noninferiority",
    "assessable",
    "bootstrap_difference",
    "bootstrap_metric",
    "examples_needed_for_margin",
    "macro_f1",
    "mean_estimate",
    "multi_bootstrap",
    "noninferiority",
    "tango_interval",
    "weighted_mean",
    "zero_event_bound",
]
