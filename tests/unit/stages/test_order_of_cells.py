"""In which order the cells of a seed begin."""

from rsa_ops.stages.train import longest_first
from rsa_ops.training.config import ArmConfig


def test_full_fine_tuning_begins_first_and_the_others_keep_their_order() -> None:
    arms = {
        "rsa": ArmConfig(method="rsa", learning_rate=0.003),
        "lora": ArmConfig(method="lora", learning_rate=0.002),
        "full": ArmConfig(method="full", learning_rate=0.0001),
    }
    assert longest_first(arms) == ["full", "rsa", "lora"]
