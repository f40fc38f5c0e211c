"""Arithmetic on blocks and shapes of layouts: numerical gradients, round trips, random places, budgets."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from tuner_models import STRUCTURES, bare_llama, llama

from rsa_ops.tuners import RsaConfig
from rsa_ops.tuners.rsa.blocks import (
    BlockGradient,
    Keep,
    Pick,
    block_gradient,
    block_product,
    entry_index,
    read_entries,
    spread_over_rows,
    write_entries,
)
from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.layout import lay_out
from rsa_ops.tuners.rsa.siblings import family

each_structure = pytest.mark.parametrize("structure", STRUCTURES)
SHAPES = [(6, 8), (8, 6), (7, 5), (1, 4), (4, 1)]


def layout_of(structure, out=6, width=8, budget=16, row_groups=3, tile=2):
    return lay_out(structure, out, width, budget, row_groups=row_groups, tile=tile)


def drawn(layout, seed=0):
    rows, columns = layout.random_index(seed, "layer")
    return rows, columns, torch.randn(layout.weight_shape, dtype=torch.float64, requires_grad=True)


def dense_of(layout, values, rows, columns):
    matrix = values.new_zeros(layout.out_features, layout.in_features)
    return matrix.index_put(entry_index(layout, rows, columns), values)


def gather(layout, x, columns):
    return x if layout.structure == "elements" else x.index_select(-1, columns.flatten())


@each_structure
@pytest.mark.parametrize("leading", [(4,), (2, 3)])
def test_the_product_and_both_its_gradients_are_those_of_the_dense_matrix(structure, leading):
    layout = layout_of(structure)
    rows, columns, values = drawn(layout)
    x = torch.randn(*leading, 8, dtype=torch.float64, requires_grad=True)
    product = block_product(layout, gather(layout, x, columns), values, rows, columns)
    dense = torch.nn.functional.linear(x, dense_of(layout, values, rows, columns))
    torch.testing.assert_close(product, dense)
    dy = torch.randn_like(dense)
    for mine, theirs in zip(
        torch.autograd.grad(product, (x, values), dy), torch.autograd.grad(dense, (x, values), dy), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@each_structure
def test_the_product_has_its_numerical_gradient(structure):
    layout = layout_of(structure)
    rows, columns, values = drawn(layout)
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)

    def product(x, values):
        picked = x
        if structure != "elements":
            picked = Pick.apply(x, columns.flatten(), structure in {"columns", "subnet"})
        return block_product(layout, picked, values, rows, columns)

    assert torch.autograd.gradcheck(product, (x, values))


@each_structure
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("early", [True, False])
def test_the_resident_gradient_is_the_numerical_gradient_of_the_written_weight(structure, scaled, early):
    """Numerical through a function that writes the values; analytical through `BlockGradient`, and `Keep`."""
    layout = layout_of(structure)
    rows, columns, values = drawn(layout)
    scale = torch.rand(layout.columns_shape, dtype=torch.float64) + 0.5 if scaled else None
    base, x = torch.randn(6, 8, dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    step = 1e-6

    def output(values):
        acting = values if scale is None else values * spread_over_rows(layout, scale)
        return torch.nn.functional.linear(x, base + dense_of(layout, acting, rows, columns))

    dy = torch.randn(3, 6, dtype=torch.float64)
    result = output(values.detach())
    parts = (gather(layout, x, columns), scale, rows, columns)
    kept = Keep.apply(values, *parts) if early else None
    learning = BlockGradient.apply(result, kept, values, *parts, layout, None)
    assert torch.equal(learning, result)
    (mine,) = torch.autograd.grad(learning, values, dy)
    numerical = torch.empty_like(mine).flatten()
    for place in range(values.numel()):
        nudge = torch.zeros(values.numel(), dtype=torch.float64)
        nudge[place] = step
        up, down = (output(values.detach() + sign * nudge.view(values.shape)) for sign in (1, -1))
        numerical[place] = ((up - down) * dy).sum() / (2 * step)
    # Rounding of a central difference of numbers near 1: 1e-16 / 1e-6.
    torch.testing.assert_close(mine.flatten(), numerical, atol=1e-8, rtol=1e-7)


@pytest.mark.parametrize("unique", [True, False])
def test_picking_columns_has_its_numerical_gradient(unique):
    columns = torch.tensor([4, 0, 2] if unique else [4, 0, 4], dtype=torch.int32)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Pick.apply(x, columns, unique), (x,))


@each_structure
def test_the_gradient_of_the_values_is_the_dense_gradient_at_their_places(structure):
    layout = layout_of(structure)
    rows, columns, _ = drawn(layout)
    x, dy = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(2, 5, 6, dtype=torch.float64)
    dense = torch.einsum("bto,bti->oi", dy, x)
    mine = block_gradient(layout, dy, gather(layout, x, columns), rows, columns)
    torch.testing.assert_close(mine, dense[entry_index(layout, rows, columns)])


@each_structure
@pytest.mark.parametrize("transposed", [False, True])
def test_written_entries_are_read_back_and_nothing_else_changes(structure, transposed):
    layout = layout_of(structure)
    rows, columns, values = drawn(layout)
    matrix = (torch.randn(8, 6).T if transposed else torch.randn(6, 8)).double()
    before = matrix.clone()
    write_entries(matrix, layout, rows, columns, values.detach())
    assert torch.equal(read_entries(matrix, layout, rows, columns), values)
    marks = torch.zeros(6, 8)
    marks[entry_index(layout, rows, columns)] += 1
    assert int(marks.sum()) == layout.parameters  # no entry belongs to two blocks
    assert torch.equal(matrix[marks == 0], before[marks == 0])


@each_structure
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.001, 0.3, 1.0])
def test_a_layout_fits_every_weight_and_comes_within_a_block_of_its_budget(structure, shape, density):
    out, width = shape
    layout = lay_out(structure, out, width, density * out * width, row_groups=4, tile=3)
    assert 1 <= layout.parameters <= out * width
    assert torch.Size(layout.weight_shape).numel() == layout.parameters
    block = {
        "columns": out,
        "spread": out,
        "subnet": out + width,  # a row and a column may both be rounded
        "tiles": layout.rows * layout.columns,
        "elements": 1,
    }[structure]
    left_over = out * width - layout.rows * layout.score_shape[0] * layout.columns * layout.score_shape[1]
    assert abs(layout.parameters - density * out * width) <= block + (left_over if structure == "tiles" else 0)
    rows, columns = layout.random_index(0, "x")
    assert columns.shape == layout.columns_shape
    assert (None if rows is None else tuple(rows.shape)) == layout.rows_shape
    marks = torch.zeros(out, width)
    marks.index_put_(entry_index(layout, rows, columns), torch.ones(()), accumulate=True)
    assert int(marks.max()) == 1
    assert int(marks.sum()) == layout.parameters


@each_structure
def test_picks_come_back_from_the_indices_made_of_them(structure):
    layout = layout_of(structure)
    picks = torch.stack([torch.randperm(layout.candidates)[: layout.picks].sort().values for _ in range(3)])
    picks = picks if structure == "spread" else picks[0]
    row_picks = torch.arange(layout.rows) if structure == "subnet" else None
    rows, columns = layout.index(picks, row_picks)
    assert columns.dtype == torch.int32
    if structure in {"columns", "spread", "subnet"}:
        back = columns
    elif structure == "tiles":
        back = (rows[:, 0] // 2) * layout.score_shape[1] + columns[:, 0] // 2
    else:
        back = rows * layout.score_shape[1] + columns
    assert torch.equal(back.long(), picks)


def test_random_entries_of_a_huge_weight_do_not_repeat_and_are_seeded():
    layout = lay_out("elements", 2048, 1024, 3000, row_groups=1, tile=1)
    (rows, columns), (again, _) = layout.random_index(1, "a"), layout.random_index(1, "a")
    numbers = rows.long() * 1024 + columns
    assert numbers.unique().numel() == numbers.numel() == 3000
    assert torch.equal(rows, again)
    # A uniform draw has its mean at the middle within 5 standard errors of n / sqrt(12 k).
    assert abs(numbers.double().mean() / (2048 * 1024) - 0.5) < 5 / (12 * 3000) ** 0.5


@each_structure
def test_scales_multiply_the_blocks_they_belong_to(structure):
    layout = layout_of(structure)
    rows, columns, values = drawn(layout)
    delta = RsaDelta(layout, rows, columns, scaled=True)
    delta.weight.data.copy_(values)
    delta.scale.copy_(torch.rand(layout.columns_shape) + 0.5)
    by_column = torch.zeros(6, 8)
    index = entry_index(layout, rows, columns)
    by_column[index] = spread_over_rows(layout, delta.scale).expand(layout.weight_shape)
    plain = RsaDelta(layout, rows, columns, scaled=False)
    plain.weight.data.copy_(values)
    torch.testing.assert_close(delta.dense(), plain.dense() * by_column)
    x = torch.randn(3, 8)
    torch.testing.assert_close(delta(x), x @ delta.dense().T)


@pytest.mark.parametrize("r", [1, 2, 3, 5])
@each_structure
def test_the_budget_r_is_loras_summed_over_siblings_up_to_whole_blocks(structure, r):
    model = llama(r=r, structure=structure, tile=2)
    sizes = {name: m.delta("default").layout for name, m in model.named_modules() if hasattr(m, "rsa_delta")}
    groups = {}
    for name, layout in sizes.items():
        groups.setdefault(family(name) if structure in {"columns", "spread"} else (name,), []).append(layout)
    for layouts in groups.values():
        wanted = sum(r * (one.in_features + one.out_features) for one in layouts)
        rows = sum(one.out_features for one in layouts)
        block = {"subnet": rows + layouts[0].in_features, "tiles": 4, "elements": 1}.get(structure, rows)
        assert abs(sum(one.parameters for one in layouts) - wanted) <= block / (1 if structure == "subnet" else 2)
    if structure in {"columns", "spread"}:
        assert sorted(len(layouts) for layouts in groups.values()) == [1, 1, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layers.0.self_attn.k_proj", ("layers.0.self_attn." + one for one in ("q_proj", "k_proj", "v_proj"))),
        ("encoder.0.attention.self.query", ("encoder.0.attention.self." + n for n in ("query", "key", "value"))),
        ("transformer.layer.3.attention.v_lin", ("transformer.layer.3.attention." + n + "_lin" for n in "qkv")),
        ("layers.0.mlp.up_proj", ("layers.0.mlp.gate_proj", "layers.0.mlp.up_proj")),
        ("block.0.layer.1.DenseReluDense.wi_1", ("block.0.layer.1.DenseReluDense." + n for n in ("wi_0", "wi_1"))),
        ("decoder.0.encoder_attn.k_proj", ("decoder.0.encoder_attn.k_proj", "decoder.0.encoder_attn.v_proj")),
        ("decoder.0.encoder_attn.q_proj", ("decoder.0.encoder_attn.q_proj",)),
        ("0.crossattention.self.value", ("0.crossattention.self.key", "0.crossattention.self.value")),
        ("decoder.block.1.layer.1.EncDecAttention.q", ("decoder.block.1.layer.1.EncDecAttention.q",)),
        ("layers.0.self_attn.o_proj", ("layers.0.self_attn.o_proj",)),
        ("v", ("q", "k", "v")),
    ],
)  # fmt: skip
def test_layers_that_read_the_same_input_are_known_by_name(name, expected):
    assert family(name) == tuple(expected)


def test_siblings_share_one_column_set_and_others_do_not():
    def leaders(**options):
        layers = [m for m in llama(**options).modules() if hasattr(m, "rsa_delta")]
        return len({id(m.delta("default").leader) for m in layers}), len(layers)

    assert leaders() == (8, 14)
    assert leaders(share_siblings=False) == (14, 14)
    assert leaders(target_modules=["q_proj", "v_proj", "down_proj"]) == (4, 6)
    for structure in STRUCTURES:
        shares = structure in {"columns", "spread"}
        assert leaders(structure=structure, tile=4) == (8 if shares else 14, 14)


def test_names_of_siblings_with_other_inputs_share_nothing():
    from peft import get_peft_model

    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.q_proj, self.k_proj, self.v_proj = nn.Linear(6, 4), nn.Linear(8, 4), nn.Linear(8, 4)

    model = get_peft_model(Crossed(), RsaConfig(density=0.5, target_modules=["q_proj", "k_proj", "v_proj"]))
    q, k, v = (getattr(model.base_model.model, f"{one}_proj").delta("default") for one in "qkv")
    assert q.leader is q
    assert v.leader is k
    assert int(q.columns.max()) < 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"r": 64}, "no target module can hold"),
        ({"target_modules": ["q_prj"]}, "no module of the model is called 'q_prj'. Did you mean 'q_proj'"),
        ({"target_modules": ["layers.0.self_attn.q_proj", "zzz"]}, "'zzz'"),
        ({"budget_pattern": {"model.layers.0.mlp.upproj": 1.0}}, "Did you mean 'model.layers.0.mlp.up_proj'"),
        (
            {"budget_pattern": {"model.layers.0.mlp.up_proj": 1.0, "model.layers.0.mlp.gate_proj": 2.0}},
            "share one column set and need one multiple, found",
        ),
    ],
)
def test_a_budget_or_a_target_that_can_not_be_is_refused_with_the_nearest_name(options, says):
    from peft import get_peft_model

    with pytest.raises(ValueError, match=says):
        get_peft_model(bare_llama(), RsaConfig(**options))


def test_the_budget_pattern_multiplies_budgets_and_leaves_out_the_rest():
    up, gate, down = (f"model.layers.1.mlp.{one}_proj" for one in ("up", "gate", "down"))
    model = llama(budget_pattern={up: 2.0, gate: 2.0, down: 0.5, "model.layers.0.mlp.down_proj": 0})
    layouts = {
        name.removeprefix("base_model.model."): module.delta("default").layout
        for name, module in model.named_modules()
        if hasattr(module, "rsa_delta")
    }
    assert {name: layout.columns for name, layout in layouts.items()} == {up: 8, gate: 8, down: 3}
    alone = llama(share_siblings=False, budget_pattern={up: 1.0, gate: 2.0})
    assert sum(p.numel() for p in alone.parameters() if p.requires_grad) == 24 * (4 + 8)
