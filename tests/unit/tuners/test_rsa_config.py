"""Configuration and registration."""

from __future__ import annotations

import importlib
import json

import pytest
from peft import PeftConfig, PeftType, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

import rsa_ops.tuners
from rsa_ops.tuners import RsaConfig, RsaModel, registration


def test_importing_registers_the_method_with_peft():
    kind = PeftType("ROBUST_SPARSE")
    assert kind is PeftType.ROBUST_SPARSE
    assert kind in list(PeftType)
    assert kind.value == "ROBUST_SPARSE"
    assert json.loads(json.dumps(kind)) == "ROBUST_SPARSE"
    assert PEFT_TYPE_TO_CONFIG_MAPPING[kind] is RsaConfig
    assert PEFT_TYPE_TO_TUNER_MAPPING[kind] is RsaModel
    assert PEFT_TYPE_TO_PREFIX_MAPPING[kind] == "rsa_"


def test_importing_twice_changes_nothing():
    before = (list(PeftType), dict(PEFT_TYPE_TO_CONFIG_MAPPING))
    importlib.reload(rsa_ops.tuners)
    importlib.reload(registration)
    registration.register(RsaConfig, RsaModel)
    assert (list(PeftType), dict(PEFT_TYPE_TO_CONFIG_MAPPING)) == before


def test_a_name_that_upstream_carries_is_left_alone(monkeypatch):
    monkeypatch.setitem(PEFT_TYPE_TO_CONFIG_MAPPING, PeftType.ROBUST_SPARSE, PeftConfig)
    registration.register(RsaConfig, RsaModel)
    assert PEFT_TYPE_TO_CONFIG_MAPPING[PeftType.ROBUST_SPARSE] is PeftConfig


def test_exports_are_sorted_and_exist():
    names = rsa_ops.tuners.__all__
    assert names == sorted(names)
    assert all(hasattr(rsa_ops.tuners, name) for name in names)


def test_config_survives_json(tmp_path):
    config = RsaConfig(
        r=3, scoring="magnitude", seed=5, target_modules=["q_proj", "v_proj"], layers_to_transform=[0]
    )
    config.save_pretrained(tmp_path)
    loaded = PeftConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, RsaConfig)
    assert loaded.to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({}, (100, 50), 2),  # the default density, 2 %
        ({"density": 0.25}, (16, 24), 4),
        ({"density": 0.001}, (16, 24), 1),  # never none
        ({"density": 1.0}, (16, 24), 16),
        ({"r": 4}, (64, 64), 8),  # 4 * (64 + 64) / 64
        ({"r": 2}, (16, 24), 3),  # 2 * 40 / 24 = 3.33
        ({"r": 64}, (16, 24), 16),  # never more than there are
    ],
)
def test_the_budget_decides_the_columns_of_a_layer(options, shape, expected):
    assert RsaConfig(**options).layout(*shape).columns == expected


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"density": 0.1, "r": 4}, ValueError, "one budget, found two"),
        ({"density": 0.0}, ValueError, r"\(0, 1\], found 0.0"),
        ({"density": 1.5}, ValueError, "not the sparsity"),
        ({"density": float("nan")}, ValueError, "found nan"),
        ({"density": "0.1"}, TypeError, "found '0.1'"),
        ({"r": 0}, ValueError, "expected 1 or more, found 0"),
        ({"r": 2.5}, TypeError, "whole number, found 2.5"),
        ({"structure": "rows"}, ValueError, "'columns' or .*'elements', found 'rows'"),
        ({"mode": "inplace"}, ValueError, "'auto' or 'additive' or 'resident', found 'inplace'"),
        ({"scoring": "hessian"}, ValueError, "'fisher' or .*'random', found 'hessian'"),
        ({"selection": "often"}, ValueError, "'static' or 'rounds', found 'often'"),
        ({"selection": "rounds", "scoring": "random"}, ValueError, "scoring='random' does not"),
        ({"regrow": 0.1, "scoring": "random"}, ValueError, "scoring='random' does not"),
        ({"choice": "worst"}, ValueError, "'top' or 'sample', found 'worst'"),
        ({"rounds": 0}, ValueError, "rounds: expected 1"),
        ({"row_groups": 0}, ValueError, "row_groups: expected 1"),
        ({"tile": 0}, ValueError, "tile: expected 1"),
        ({"tile": True}, TypeError, "tile: expected a whole number"),
        ({"confidence": -1.0}, ValueError, "confidence: expected 0"),
        ({"confidence": "high"}, TypeError, "confidence: expected a number"),
        ({"selection_share": 1.5}, ValueError, "selection_share: expected 0 to 1"),
        ({"budget_pattern": {"a": -1.0}}, ValueError, "expected 0 or more, found -1"),
        ({"budget_pattern": {"a": "much"}}, TypeError, "expected a number, found 'much'"),
        ({"budget_pattern": {"a": 0}}, ValueError, "no module has a budget"),
        ({"scoring_batches": 0}, ValueError, "scoring_batches: expected 1"),
        ({"seed": -1}, ValueError, "seed: expected 0"),
        ({"layers_to_transform": [0]}, ValueError, "needs `target_modules` as a list"),
        ({"layers_pattern": "layers", "target_modules": ["q"]}, ValueError, "without `layers_to_transform`"),
    ],
)
def test_a_wrong_field_is_refused_with_what_was_expected_and_found(options, error, says):
    with pytest.raises(error, match=says):
        RsaConfig(**options)


def test_layers_that_are_not_plain_linears_are_refused():
    from torch import nn

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 6)
            self.attention = nn.MultiheadAttention(4, 1)
            self.plain = nn.Linear(3, 3)

    for target, says in [
        ("table", "found Embedding"),
        ("out_proj", "would do nothing"),
    ]:
        with pytest.raises(TypeError, match=says):
            get_peft_model(Odd(), RsaConfig(target_modules=[target]))


def test_two_methods_in_one_layer_are_refused():
    from peft import LoraConfig
    from torch import nn

    adapted = get_peft_model(nn.Sequential(nn.Linear(4, 4)), LoraConfig(target_modules=["0"]))
    with pytest.raises(TypeError, match="another PEFT method"):
        get_peft_model(adapted.base_model.model, RsaConfig(target_modules=["0"]))
