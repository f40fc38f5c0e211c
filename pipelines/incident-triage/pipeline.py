"""Incident triage: name the attack vector of a software incident from its description.

There to be edited: take a stage out, call one twice, put your own between two of them.
Run it with `rsa-ops run <this folder>`; what it does stands in pipeline.yaml, what it must prove in policy.yaml.
"""

from rsa_ops.core.verdict import Verdict
from rsa_ops.stages import Run, benchmark, compare, cost, gate, promote, report, train, validate


def pipeline(run: Run) -> Verdict:
    """All stages in order; the verdict decides the exit code."""
    data = validate(run)
    models = train(run, data)
    scores = benchmark(run, data, models)
    comparison = compare(run, data, scores)
    tco = cost(run, models, scores, comparison)
    verdict = gate(run, data, models, scores, comparison, tco)
    report(run)
    promote(run, verdict, models, scores)
    return verdict
