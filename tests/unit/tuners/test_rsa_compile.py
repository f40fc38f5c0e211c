"""`torch.compile`: one graph, no break, no recompilation when places are rewritten, the eager result."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from tuner_models import STRUCTURES, learnt, two_layers

from rsa_ops.tuners.rsa.selection import units, write_places

each_case = pytest.mark.parametrize(
    ("structure", "mode"), [(structure, mode) for structure in STRUCTURES for mode in ("additive", "resident")]
)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def moved(model, seed):
    for unit in units(model, "default"):
        write_places(unit.delta, *unit.layout.random_index(seed, "elsewhere"))
    model.train()


@each_case
def test_one_graph_without_breaks_survives_new_places_and_equals_eager(structure, mode):
    options = {"structure": structure, "tile": 2, "mode": mode}
    model, eager = learnt(two_layers(**options)).train(), learnt(two_layers(**options)).train()
    eager.base_model.model.load_state_dict(model.base_model.model.state_dict())
    model.train()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    optimizers = [torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=0.1) for m in (model, eager)]
    for step in range(4):
        x = torch.randn(3, 6, generator=torch.Generator().manual_seed(step))
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        one, other = compiled(mine), eager(theirs)
        # Two orders of the same sums in float32.
        torch.testing.assert_close(one, other)
        for y, optimizer in zip((one, other), optimizers, strict=True):
            optimizer.zero_grad()
            y.square().sum().backward()
            optimizer.step()
        torch.testing.assert_close(mine.grad, theirs.grad)
        if step == 1:
            moved(model, 7)
            moved(eager, 7)
    assert counter.frame_count == 1
    for (name, p), q in zip(model.named_parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(p, q, msg=name)


def test_a_compiled_model_of_siblings_gathers_once_and_equals_eager():
    from tuner_models import causal_batch, llama

    batch = {name: value for name, value in causal_batch().items() if name != "attention_mask"}

    def gradients(model, forward):
        forward(**batch, use_cache=False).loss.backward()
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    eager, model = learnt(llama(mode="resident")).train(), learnt(llama(mode="resident")).train()
    counter = CompileCounterWithBackend("aot_eager")
    expected = gradients(eager, eager)
    found = gradients(model, torch.compile(model, backend=counter))
    torch.testing.assert_close(found, expected)
    assert counter.frame_count == 1
