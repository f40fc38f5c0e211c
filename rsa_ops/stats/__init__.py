"""Arrays in, `Estimate` or `PairedResult` out. No models, no I/O, no global random state.

Two questions, two functions. *Method*: does this way of training lose more than the margin? Seeds and
examples are both random and crossed: `noninferiority`. *Artifact*: does this checkpoint lose more than the
margin against that one? Only the examples are random: `artifact_noninferiority`. Metrics that are no mean
over examples go through `bootstrap_difference`, with the same crossing. `plan_comparison` says how many seeds and
examples either question needs before anything is trained, from assumptions or from a pilot.
"""

from rsa_ops.stats.artifact import artifact_noninferiority, tango_interval
from rsa_ops.stats.bootstrap import ArmMetric, bootstrap_difference, bootstrap_metric, multi_bootstrap
from rsa_ops.stats.crossed import mean_estimate, noninferiority
from rsa_ops.stats.plan import plan_comparison
from rsa_ops.stats.slices import assessable, examples_needed_for_margin, zero_event_bound
from rsa_ops.stats.variation import measure_variation, pilot_variation
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
    "measure_variation",
    "multi_bootstrap",
    "noninferiority",
    "pilot_variation",
    "plan_comparison",
    "tango_interval",
    "weighted_mean",
    "zero_event_bound",
]
