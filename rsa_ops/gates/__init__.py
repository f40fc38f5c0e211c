"""Policy and evidence in, verdict out. Pure: no clock, no disk, equal arguments give equal verdicts."""

from rsa_ops.gates.decide import decide
from rsa_ops.gates.policy import Policy, Question, Rule, questions

__all__ = ["Policy", "Question", "Rule", "decide", "questions"]
