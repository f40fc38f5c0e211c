"""Arrays in, `Estimate` or `PairedResult` out. No models, no I/O, no global random state.

Two questions, two functions. *Method*: does this way of training lose more than the margin? Seeds and
examples are both random and crossed: `noninferiority`. *Artifact*: does this checkpoint lose more than the
margin against that one? Only the examples are random: `artifact_noninferiority`. Metrics that are no mean
over examples go through `bootstrap_difference`, with the same crossing; slices through `compare_slices`.
`plan_comparison` says how many seeds and examples either question needs before anything is trained.

A third question, of a live rollout that is looked at as often as one likes: does the challenger harm? `EProcess`,
`BernoulliEProcess` and `BettingEProcess` are exact, `ConfidenceSequence` is asymptotic, `SampleRatio` checks the
assignment that all of them rest on, `decide_rollout` joins them. Each is a frozen value that is saved and resumed.
"""

from rsa_ops.core.family import holm
from rsa_ops.core.margin import Margin
from rsa_ops.core.slices import SliceDifference, SlicesResult, WorstSlice
from rsa_ops.stats.artifact import any_difference, artifact_noninferiority
from rsa_ops.stats.bernoulli import BernoulliEProcess
from rsa_ops.stats.betting import BettingEProcess
from rsa_ops.stats.bootstrap import bootstrap_difference, bootstrap_metric, multi_bootstrap
from rsa_ops.stats.confidence_sequence import ConfidenceSequence
from rsa_ops.stats.counts import ArmCounts, TwoArmCounts
from rsa_ops.stats.crossed import mean_estimate, noninferiority
from rsa_ops.stats.draws import ArmMetric, grouped
from rsa_ops.stats.eprocess import EProcess
from rsa_ops.stats.families import (
    compare_slices,
    slices_by,
    worst_slice_test,
)
from rsa_ops.stats.guardrails import Action, Guardrail, RolloutDecision, decide_rollout
from rsa_ops.stats.inputs import aligned
from rsa_ops.stats.plan import plan_comparison
from rsa_ops.stats.proportions import (
    Significance,
    bonett_price_interval,
    mcnemar_mid_p,
    newcombe_interval,
    tango_interval,
)
from rsa_ops.stats.running_moments import Moments
from rsa_ops.stats.sample_ratio import SampleRatio
from rsa_ops.stats.slices import assessable, examples_needed_for_margin, zero_event_bound
from rsa_ops.stats.variation import measure_variation, pilot_variation
from rsa_ops.stats.weighted import calibration, corpus_chrf, from_sums, macro_f1, weighted_mean, worst_slice_mean

__all__ = [
    "Action",
    "ArmCounts",
    "ArmMetric",
    "BernoulliEProcess",
    "BettingEProcess",
    "ConfidenceSequence",
    "EProcess",
    "Guardrail",
    "Margin",
    "Moments",
    "RolloutDecision",
    "SampleRatio",
    "Significance",
    "SliceDifference",
    "SlicesResult",
    "TwoArmCounts",
    "WorstSlice",
    "aligned",
    "any_difference",
    "artifact_noninferiority",
    "assessable",
    "bonett_price_interval",
    "bootstrap_difference",
    "bootstrap_metric",
    "calibration",
    "compare_slices",
    "corpus_chrf",
    "decide_rollout",
    "examples_needed_for_margin",
    "from_sums",
    "grouped",
    "holm",
    "macro_f1",
    "mcnemar_mid_p",
    "mean_estimate",
    "measure_variation",
    "multi_bootstrap",
    "newcombe_interval",
    "noninferiority",
    "pilot_variation",
    "plan_comparison",
    "slices_by",
    "tango_interval",
    "weighted_mean",
    "worst_slice_mean",
    "worst_slice_test",
    "zero_event_bound",
]
