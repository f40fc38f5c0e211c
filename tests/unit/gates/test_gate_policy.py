"""Laws of the policy file: typed, frozen, nothing unknown, one digest."""

import pytest
from pydantic import ValidationError

from rsa_ops.config import load_config
from rsa_ops.errors import ConfigError, ExitCode
from rsa_ops.gates import Policy, Question, questions

YAML = """
name: incident triage
description: replaces full fine-tuning
candidate: rsa
alpha: 0.05
rules:
  - {kind: noninferiority, metric: accuracy, against: full, margin: 0.02}
  - {kind: noninferiority, metric: macro_f1, against: lora, margin: 0.03, require: superior}
  - {kind: slices, metric: accuracy, against: full, margin: 0.05, min_assessable: 2}
  - {kind: floor, metric: accuracy, at_least: 0.7}
  - {kind: robustness, perturbation: typos, max_drop: 0.05}
  - {kind: worst_slice, at_least: 0.5}
  - {kind: measured, quantity: trainable_share, at_most: 0.02}
  - {kind: measured, quantity: wall_seconds_ratio, at_most: 1, against: full}
  - {kind: cost, against: full, at_most: 0.8}
"""


def loaded(text: str) -> Policy:
    return load_config(Policy, text, "policy.yaml")


def test_every_kind_of_rule_is_read_and_written_without_loss() -> None:
    policy = loaded(YAML)
    assert [rule.kind for rule in policy.rules][:4] == ["noninferiority", "noninferiority", "slices", "floor"]
    again = Policy.from_json(policy.to_json(), "policy.json")
    assert again == policy
    assert again.digest() == policy.digest()


def test_the_order_of_keys_and_comments_do_not_change_the_digest_and_a_margin_does() -> None:
    other = YAML.replace("candidate: rsa\nalpha: 0.05\n", "alpha: 0.05  # one-sided\ncandidate: rsa\n")
    assert loaded(other).digest() == loaded(YAML).digest()
    assert loaded(YAML.replace("margin: 0.02", "margin: 0.021")).digest() != loaded(YAML).digest()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("max_drop", "max_drp", "did you mean `max_drop`"),
        ("candidate: rsa", "candidat: rsa", "did you mean `candidate`"),
        ("min_assessable", "min_asessable", "did you mean `min_assessable`"),
        ("kind: floor", "kind: flor", "'floor'"),
        ("margin: 0.02", "margin: 0", "greater than 0"),
        ("margin: 0.02", "margin: .nan", "finite"),
        ("alpha: 0.05", "alpha: 0.5", "less than 0.5"),
        ("at_most: 1, against: full", "at_most: 1", "needs `against`"),
        ("at_most: 0.02", "at_most: 0.02, against: full", "takes no `against`"),
        ("against: lora", "against: rsa", "with itself"),
        ("margin: 0.03, require: superior", "margin: 0.03, require: better", "superior"),
        (
            "metric: macro_f1, against: lora, margin: 0.03",
            "metric: accuracy, against: full, margin: 0.03",
            "two margins",
        ),
    ],
)
def test_a_mistake_is_a_config_error_that_says_what_is_wrong(old: str, new: str, says: str) -> None:
    assert old in YAML
    with pytest.raises(ConfigError) as caught:
        loaded(YAML.replace(old, new, 1))
    assert says in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("rules", ["rules: []\n", "", "rules:\n"])
def test_a_policy_without_rules_is_a_config_error(rules: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded("name: empty\ncandidate: rsa\n" + rules)
    assert "rules" in str(caught.value)


def test_a_policy_cannot_be_changed() -> None:
    policy = loaded(YAML)
    with pytest.raises(ValidationError):
        policy.alpha = 0.4


def test_the_questions_are_what_the_comparison_must_ask() -> None:
    assert questions(loaded(YAML)) == (
        Question("accuracy", "full", 0.02, on_slices=False),
        Question("macro_f1", "lora", 0.03, on_slices=False),
        Question("accuracy", "full", 0.05, on_slices=True),
    )


def test_a_relative_margin_is_a_share_of_a_fixed_reference() -> None:
    relative = loaded(YAML.replace("margin: 0.02", "margin: {share: 0.02, of: 0.86}"))
    assert questions(relative)[0].margin == 0.0172
    assert relative.digest() == loaded(YAML.replace("margin: 0.02", "margin: 0.0172")).digest()


@pytest.mark.parametrize(
    "margin",
    ["{share: 0.02, of: full}", "{share: 0.02, of: baseline}", "{share: 0.02}", "{share: -0.02, of: 0.86}",
     "{share: true, of: 0.86}", "{share: 0.02, of: 0.86, from: full}", "{share: .nan, of: 0.86}"],
)  # fmt: skip
def test_a_margin_is_never_taken_from_the_observed_baseline(margin: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(YAML.replace("margin: 0.02", f"margin: {margin}"))
    assert "the observed baseline moves" in str(caught.value) or "finite" in str(caught.value)


def test_declared_looks_share_alpha_and_are_part_of_the_digest() -> None:
    twice = loaded(YAML + "looks: 2\n")
    assert (twice.level, loaded(YAML).level) == (0.025, 0.05)
    assert twice.digest() != loaded(YAML).digest()
    assert Policy.from_json(twice.to_json(), "policy.json") == twice


def test_a_policy_from_before_there_were_looks_keeps_its_digest() -> None:
    assert "looks" not in loaded(YAML).model_dump(mode="json")
