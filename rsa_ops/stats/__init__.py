"""Arrays in, `Estimate` or `PairedResult` out. No models, no I/O, no global random state.

Two questions, two functions. *Method*: does this way of training lose more than the margin? Seeds and
examples are both random and crossed: `noninferiority`. *Artifact*: does this checkpoint lose more than the
margin against that one? Only the examples are random: `artifact_noninferiority`. Metrics that are no mean
over examples go through `bootstrap_difference`, with the same crossing.

A third question, of a live rollout that is looked at as often as one likes: does the challenger harm? `EProcess`,
`BernoulliEProcess` and `BettingEProcess` are exact, `ConfidenceSequence` is asymptotic, `SampleRatio` checks the
assignment that all of them rest on, `decide_rollout` joins them. Each is a frozen value that is saved and resumed.
"""

from rsa_ops.stats.artifact import artifact_noninferiority, tango_interval
from rsa_ops.stats.bernoulli import BernoulliEProcess
from rsa_ops.stats.betting import BettingEProcess
from rsa_ops.stats.bootstrap import ArmMetric, bootstrap_difference, bootstrap_metric, multi_bootstrap
from rsa_ops.stats.confidence_sequence import ConfidenceSequence
from rsa_ops.stats.counts import ArmCounts, TwoArmCounts
from rsa_ops.stats.crossed import mean_estimate, noninferiority
from rsa_ops.stats.eprocess import EProcess
from rsa_ops.stats.guardrails import Action, Guardrail, RolloutDecision, decide_rollout
from rsa_ops.stats.running_moments import Moments
from rsa_ops.stats.sample_ratio import SampleRatio
from rsa_ops.stats.slices import assessable, examples_needed_for_margin, zero_event_bound
from rsa_ops.stats.weighted import macro_f1, weighted_mean

__all__ = [
    "Action",
    "ArmCounts",
    "ArmMetric",
    "BernoulliEProcess",
    "BettingEProcess",
    "ConfidenceSequence",
    "EProcess",
    "Guardrail",
    "Moments",
    "RolloutDecision",
    "SampleRatio",
    "TwoArmCounts",
    "artifact_noninferiority",
    "assessable",
    "bootstrap_difference",
    "bootstrap_metric",
    "decide_rollout",
    "examples_needed_for_margin",
    "macro_f1",
    "mean_estimate",
    "multi_bootstrap",
    "noninferiority",
    "tango_interval",
    "weighted_mean",
    "zero_event_bound",
]
