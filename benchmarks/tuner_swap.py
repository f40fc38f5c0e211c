"""Switching between two adapters of one model: seconds, and whether every bit of the base comes back.

Run: python benchmarks/tuner_swap.py OUT.json [--shape 1b] [--devices cuda cpu]
         [--families rsa lora ...] [--ways set_adapter merge ...] [--most 100] [--seconds 5]

Ways, each from adapter one to two and back in turn: `set_adapter` between two that are in memory; reading the other
from disk (a warm page cache) and dropping the first; `hotswap` into the same place; and unmerging one, merging the
other. A time ends when the device is done; its median and quartiles are over the switches of one way. "First token"
is the switch and a forward pass of one token, beside the pass alone: it would show work that a method leaves to the
next forward pass. Of one more switch the operators that torch was asked for (`calls`, without views) and, on a
card, the kernels (`launches`) are counted. Models are `llama_shapes.py`'s, for inference, in bfloat16; adapters
hold random values, RSA's in other places in each. OUT.json is written anew after every family. For a table in
docs/tuner.md: OUT.json is benchmarks/results/tuner_swap.json, and `python benchmarks/tuner_doc.py` after it.
"""

import argparse
import copy
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
from llama_shapes import LAUNCHES, LINEARS, SHAPES, build, machine, write
from peft import LoraConfig, PeftConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from rsa_ops.tuners import RsaConfig
from rsa_ops.tuners.rsa.layer import Linear

LEAST = 3
WAYS = ("set_adapter", "reload", "merge", "hotswap")
NAMES = ("one", "two")


@dataclass(frozen=True)
class Family:
    """An adapter method as it is served. `config` takes (rank, seed of the places)."""

    name: str
    config: Callable[[int, int], PeftConfig]
    autocast: bool = True


def _lora(rank: int, _: int) -> PeftConfig:
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(LINEARS))


FAMILIES = (
    Family("rsa", lambda rank, seed: RsaConfig(r=rank, seed=seed)),
    Family("rsa-additive", lambda rank, seed: RsaConfig(r=rank, seed=seed, mode="additive")),
    Family("lora", _lora),
    Family("lora-bf16", _lora, autocast=False),
)


class Served:
    """A model with adapters one and two, both also on disk, and the four ways of going from one to the other."""

    def __init__(self, family: Family, base: Any, device: str, rank: int, folder: Path) -> None:
        torch.manual_seed(0)
        self.pristine = dict(weights(base))
        self.model: Any = get_peft_model(
            copy.deepcopy(base), family.config(rank, 1), adapter_name="one", autocast_adapter_dtype=family.autocast
        )
        self.model.add_adapter("two", family.config(rank, 2), autocast_adapter_dtype=family.autocast)
        self.model.eval()
        for name in NAMES:
            fill(self.model, name)
        self.model.save_pretrained(folder)
        self.folders = {name: folder / name for name in NAMES}
        self.device, self.autocast, self.loaded = device, family.autocast, 0
        self.token = torch.full((1, 1), 1, device=device)

    def set_adapter(self, name: str) -> None:
        """Both are in memory."""
        self.model.set_adapter(name)

    def reload(self, name: str) -> None:
        """Only the active one is in memory; the other is read, made active, and the first is dropped."""
        old, new = self.model.active_adapter, f"{name}{self.loaded}"
        self.loaded += 1
        self.model.load_adapter(self.folders[name], new, autocast_adapter_dtype=self.autocast)
        self.model.set_adapter(new)
        self.model.delete_adapter(old)

    def merge(self, name: str) -> None:
        """The base holds one; it is taken out, and the other put in."""
        self.model.unmerge_adapter()
        self.model.merge_adapter([name])

    def hotswap(self, name: str) -> None:
        """The other's values are read into the place of adapter one."""
        if isinstance(self.model.peft_config["one"], RsaConfig):
            from rsa_ops.tuners import hotswap

            hotswap(self.model, self.folders[name], adapter_name="one")
            return
        from peft.utils.hotswap import hotswap_adapter

        hotswap_adapter(self.model, str(self.folders[name]), adapter_name="one", torch_device=self.device)

    def forward(self) -> Tensor:
        """Logits of one token."""
        with torch.no_grad():
            logits: Tensor = self.model(input_ids=self.token).logits
        return logits

    def state(self) -> dict[str, Tensor]:
        """Copies of all weights that adapters stand on, as they are now."""
        return {name: weight.clone() for name, weight in weights(self.model)}


def weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """(name, weight) of every linear that is, or could be, adapted; the same names before and after adapting."""
    for name, module in model.named_modules():
        plain = name.removeprefix("base_model.model.")
        if plain.rpartition(".")[2] in LINEARS:
            base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
            yield plain, base.weight.detach()


@torch.no_grad()
def fill(model: Any, adapter: str) -> None:
    """Random values in place of the zeros of a new adapter: about as large as after some training."""
    for name, parameter in model.named_parameters():
        if f".{adapter}." in name or name.endswith(f".{adapter}"):
            parameter.copy_(torch.randn_like(parameter) * 1e-2)
    model.train(model.training)


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Any]:
    """Whether two states are equal bit for bit; if not, by how much."""
    apart = [
        (one[name].float() - other[name].float()).abs() for name in one if not torch.equal(one[name], other[name])
    ]
    total = sum(tensor.numel() for tensor in one.values())
    return {
        "bit_equal": not apart,
        "differing_share": sum(int((tensor > 0).sum()) for tensor in apart) / total,
        "largest_difference": max((float(tensor.max()) for tensor in apart), default=0.0),
    }


def repeated(action: Callable[[str], None], device: str, most: int, seconds: float) -> dict[str, Any]:
    """Milliseconds of `action` on two, one, two, ...: an even number of times, so that one is active in the end."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for name in cycle(reversed(NAMES)):
        if len(taken) % 2 == 0 and (len(taken) >= most or (len(taken) > LEAST and time.perf_counter() > end)):
            break
        _wait(device)
        start = time.perf_counter()
        action(name)
        _wait(device)
        taken.append((time.perf_counter() - start) * 1000)
    low, middle, high = quantiles(taken, n=4, method="inclusive")
    return {
        "ms": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "ms_least": round(min(taken), 3),
        "ms_most": round(max(taken), 3),
        "times": len(taken),
    }


class Calls(TorchDispatchMode):
    """Counts the operators that torch is asked for, without those that give views."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def counted(action: Callable[[str], None], device: str) -> dict[str, int | None]:
    """Operators of a switch to two, and kernels (None on a CPU) of the switch back to one."""
    with Calls() as calls:
        action("two")
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device == "cuda")]
    with profile(activities=activities) as profiler:
        action("one")
        _wait(device)
    names = [event.name() for event in profiler.profiler.kineto_results.events()]
    launches = sum(name in LAUNCHES for name in names)
    return {"calls": calls.count, "launches": launches if device == "cuda" else None}


def measure(family: Family, base: Any, words: argparse.Namespace, device: str) -> list[dict[str, Any]]:
    """The records of one family on one device: one for each way. `base` is copied, and stays as it is."""
    records = []
    for way in words.ways:
        facts = {"family": family.name, "way": way, "shape": words.shape, "rank": words.rank, **machine(device)}
        try:
            with tempfile.TemporaryDirectory() as folder:
                served = Served(family, base, device, words.rank, Path(folder))
                facts |= one_way(served, way, words) | {"error": None}
        except Exception as error:  # noqa: BLE001  a way that is not supported is a result
            facts["error"] = f"{type(error).__name__}: {error}"[:500]
        served = None  # with its model, before the next is built
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        records.append(facts)
        print(f"{device:5} {family.name:13} {way:12} {facts['error'] or facts['switch']['ms']}", flush=True)
    return records


def one_way(served: Served, way: str, words: argparse.Namespace) -> dict[str, Any]:
    """Times and bits of one way of switching."""
    action = getattr(served, way)
    if way == "merge":
        served.model.merge_adapter(["one"])
    if way == "reload":
        served.model.delete_adapter("two")
    if way == "hotswap":
        served.model.delete_adapter("two")
        served.forward()
    first = served.forward()  # resident values are in the weights from here on
    before = served.state()

    def only_token() -> None:
        served.forward()

    def with_token(name: str) -> None:
        action(name)
        served.forward()

    found: dict[str, Any] = {
        "switch": repeated(action, served.device, words.most, words.seconds),
        "forward": repeated(lambda _: only_token(), served.device, words.most, words.seconds),
        "first_token": repeated(with_token, served.device, words.most, words.seconds),
        **counted(action, served.device),
        "file_bytes": sum(file.stat().st_size for file in served.folders["one"].iterdir()),
    }
    found["same_logits"] = torch.equal(served.forward(), first)
    found["weights_of_one"] = difference(served.state(), before)
    layers = [module for module in served.model.modules() if isinstance(module, Linear)]
    found["resident_layers"] = sum(layer.resident_adapter is not None for layer in layers)
    if way == "merge":
        served.model.unmerge_adapter()
    with served.model.disable_adapter():
        found["base"] = difference(served.state(), served.pristine)
    return found


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def as_text(records: list[dict[str, Any]]) -> Iterator[str]:
    """The table, in 80 columns."""
    for device in dict.fromkeys(record["card"] for record in records):
        yield f"\n{device}"
        yield f"{'':25}{'switch ms':>10}{'+ token':>9}{'token':>8}{'kernels':>8}{'one again':>10}{'base':>8}"
        for one in (record for record in records if record["card"] == device):
            name = f"{one['family']} {one['way']}"
            if one["error"]:
                yield f"{name:25} {one['error'].splitlines()[0][:54]}"
                continue
            bits = [_bits(one[key]) for key in ("weights_of_one", "base")]
            times = f"{one['switch']['ms']:10.2f}{one['first_token']['ms']:9.2f}{one['forward']['ms']:8.2f}"
            yield f"{name:25}{times}{one['launches'] or '-':>8}{bits[0]:>10}{bits[1]:>8}"


def _bits(found: dict[str, Any]) -> str:
    return "equal" if found["bit_equal"] else f"{found['differing_share']:.0%} off"


def ratios(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """RSA's `set_adapter` over every other way, alone and with the first token, on each device."""
    good = [record for record in records if record["error"] is None]
    return [
        {
            "card": ours["card"],
            "ratio": f"rsa set_adapter / {other['family']} {other['way']}",
            "time": round(ours["switch"]["ms"] / other["switch"]["ms"], 4),
            "time_with_first_token": round(ours["first_token"]["ms"] / other["first_token"]["ms"], 4),
        }
        for ours in good
        if (ours["family"], ours["way"]) == ("rsa", "set_adapter")
        for other in good
        if other["card_id"] == ours["card_id"] and other is not ours
    ]


def main(command: list[str] | None = None) -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--shape", default="1b", choices=SHAPES)
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"])
    parser.add_argument(
        "--families", nargs="+", default=[f.name for f in FAMILIES], choices=[f.name for f in FAMILIES]
    )
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--rank", type=int, default=16, help="LoRA's rank, whose parameter count RSA gets too")
    parser.add_argument("--most", type=int, default=100, help="switches of a way at most")
    parser.add_argument("--seconds", type=float, default=5, help="after which no more switches of a way are made")
    words = parser.parse_args(command)
    records: list[dict[str, Any]] = []
    for device in words.devices:
        torch.manual_seed(0)
        base = build(SHAPES[words.shape], device).eval()
        for family in (family for family in FAMILIES if family.name in words.families):
            records += measure(family, base, words, device)
            record = {"script": "benchmarks/tuner_swap.py", "ratios": ratios(records), "records": records}
            write(record, Path(words.out))
    print("\n".join(as_text(records)))
    for one in ratios(records):
        print(f"{one['ratio']:44} {one['time']:8.4f} {one['time_with_first_token']:8.4f}  {one['card'][:16]}")


if __name__ == "__main__":
    main()
