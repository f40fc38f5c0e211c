"""The tables and plots of docs/tuner.md, from the committed JSON; nothing here is measured or written by hand.

Run: python benchmarks/tuner_doc.py          writes them
     python benchmarks/tuner_doc.py --check  fails where docs/tuner.md is not what the JSON says
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from doc_tables import Table, with_tables
from tuner_cost_ratios import GIB, PROMISED, setting_name, summary

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "tuner.md"


def load(name: str) -> Any:
    """A committed record, or None where it was not measured yet."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def filled(head: list[str], rows: list[list[str]]) -> Table:
    """The table; one that has no rows says that nothing was measured yet."""
    return head, rows or [["not measured yet", *[""] * (len(head) - 1)]]


def ratio_table() -> Table:
    """RSA over other methods, beside the targets of the issue and what the floor itself would reach."""
    rows = [[ratio["ratio"], *_cells(ratio)] for ratio in _ratios() if _place(ratio) == PROMISED]
    return filled(["ratio", "step time (target; floor)", "fastest steps", "peak memory (target; floor)"], rows)


def other_ratio_table() -> Table:
    """The same for every other shape and batch, where nothing was promised."""
    rows = [
        [f"{ratio['ratio']}, {' '.join(_place(ratio))}", *_cells(ratio)]
        for ratio in _ratios()
        if _place(ratio) != PROMISED
    ]
    return filled(["ratio, shape and batch", "step time (floor)", "fastest steps", "peak memory (floor)"], rows)


def _ratios() -> list[dict[str, Any]]:
    """Every place's ratios, by the card that measured most of them there; of equal ones the last."""
    found: list[dict[str, Any]] = []
    for place in dict.fromkeys(map(_place, _measured())):
        cards: dict[str, list[dict[str, Any]]] = {}
        for ratio in _measured():
            if _place(ratio) == place:
                cards.setdefault(ratio["card_id"], []).append(ratio)
        found += max(reversed(cards.values()), key=len)
    return found


def _measured() -> list[dict[str, Any]]:
    return [ratio for ratio in load("tuner_cost")["ratios"] if ratio["time"] is not None]


def hosts_table() -> Table:
    """The promised times, on every machine that measured them, in the order of measuring."""
    promised = [ratio for ratio in _measured() if ratio["time_target"] is not None]
    cards = list(dict.fromkeys(ratio["card_id"] for ratio in _measured()))
    rows = []
    for name in dict.fromkeys(ratio["ratio"] for ratio in promised):
        of_card = {ratio["card_id"]: ratio for ratio in promised if ratio["ratio"] == name}
        cells = [_time_of(of_card[card]) if card in of_card else "" for card in cards]
        rows.append([name, f"{next(iter(of_card.values()))['time_target']:.2f}", *cells])
    return filled(["step time, median (fastest)", "target", *(f"machine {card[:4]}" for card in cards)], rows)


def _time_of(ratio: dict[str, Any]) -> str:
    text = f"{ratio['time']:.3f} ({ratio['time_of_fastest']:.3f})"
    return text if ratio["time_met"] else f"**{text}**"


def _place(ratio: dict[str, Any]) -> tuple[str, str]:
    return ratio["shape"], ratio["batch"]


def _cells(ratio: dict[str, Any]) -> list[str]:
    return [_cell(ratio, "time"), f"{ratio['time_of_fastest']:.3f}", _cell(ratio, "memory")]


def _cell(ratio: dict[str, Any], key: str) -> str:
    if ratio[key] is None:  # memory, on a CPU
        return "-"
    limit, floor = ratio[f"{key}_target"], ratio[f"{key}_of_floor"]
    beside = "; ".join(f"{value:.2f}" for value in (limit, floor) if value is not None)
    text = f"{ratio[key]:.3f}" + (f" ({beside})" if beside else "")
    return text if ratio[f"{key}_met"] is not False else f"**{text} missed**"


def of_setting(setting: str) -> list[dict[str, Any]]:
    """The records of a setting that one card measured, since no others may be divided by each other.

    Of several cards it is the one that measured most rows, and of equal ones the last.
    """
    cards: dict[str, list[dict[str, Any]]] = {}
    for record in load("tuner_cost")["records"]:
        if setting_name(record) == setting:
            cards.setdefault(record["card_id"], []).append(record)
    return max(reversed(cards.values()), key=lambda records: len({r["row"] for r in records}), default=[])


def cost_table(setting: str) -> Table:
    """Every row of one setting: time, memory, and both over the floor's."""
    records = of_setting(setting)
    floor = summary([r for r in records if r["row"] == "floor"])
    rows = []
    for name in dict.fromkeys(r["row"] for r in records):
        of_row = [r for r in records if r["row"] == name]
        found = summary(of_row)
        if found is None or found[1] is None:
            rows.append([name, "failed", "", "", of_row[-1]["error"].splitlines()[0][:60]])
            continue
        bare = floor is None or floor[1] is None
        over = ("-", "-") if bare else (f"{found[0] / floor[0]:.3f}", f"{found[1] / floor[1]:.3f}")
        rows.append(
            [
                name,
                f"{found[0]:.1f}",
                over[0],
                f"{found[1] / GIB:.2f}",
                over[1],
                f"{of_row[-1]['trainable'] / 1e6:.2f}",
            ]
        )
    return filled(["row", "ms a step", "x floor", "GiB", "x floor", "M trainable"], rows)


QUALITY = {
    "e2e": {"nll": "loss a token", "forgetting": "forgetting"},
    "b10": {"accuracy": "accuracy", "accuracy_worst_classes": "worst 5 % of classes", "accuracy_typos": "typos"},
}
QUALITY["b77"] = QUALITY["b10"]


def quality_table(task: str, r: int) -> Table:
    """One table of measure C: test scores, and RSA's default minus each method with its interval."""
    metrics = QUALITY[task]
    first = next(iter(metrics))
    entry = next(t for t in load("tuner_quality")["tables"] if (t["task"], t["r"]) == (task, r))
    rows = []
    for line in entry["rows"]:
        scores = [f"{line['mean'][name]:.{2 if name == 'forgetting' else 4}f}" for name in metrics]
        between = _difference(line.get("rsa_minus_this", {}).get(first))
        about = [line["variant"], f"{line['trainable_parameters']:,}", f"{line['learning_rate']:g}"]
        rows.append([*about, *scores, str(len(line["seeds"])), between])
    head = ["method", "trainable", "rate", *metrics.values(), "seeds", "RSA minus this, 90 % (above 0: RSA better)"]
    return filled(head, rows)


def _difference(between: dict[str, Any] | None) -> str:
    if not between or "difference" not in between:
        return ""
    return f"{between['difference']:+.4f} ({between['low']:+.4f} to {between['high']:+.4f})"


def depth_table() -> Table:
    """The frontier depth against quality, on the test split, beside LoRA on the same layers."""
    rows = [
        [
            line["variant"],
            f"{line['depth']:.2f}" + (", planned" if line["planned"] else ""),
            f"{line['learning_rate']:g}",
            f"{line['mean']['nll']:.4f}",
            f"{line['mean']['forgetting']:.2f}",
            _difference(line.get("this_minus_lora_on_all_layers", {}).get("nll")),
        ]
        for line in load("tuner_quality")["depth"]
    ]
    head = ["variant", "depth", "rate", "loss a token", "forgetting", "this minus LoRA on all layers, 90 %"]
    return filled(head, rows)


def forms_table(task: str) -> Table:
    """Forms of RSA that won on validation, on the test split: each minus RSA as it is and minus every rival."""
    rows = [
        [line["variant"], f"{line['mean']['accuracy']:.4f}", other, _difference(minus.get("accuracy"))]
        for line in load("tuner_quality")["forms"]
        if line["task"] == task
        for other, minus in line["this_minus"].items()
    ]
    return filled(["form", "accuracy", "minus", "difference, 90 %"], rows)


def grid_table(task: str) -> Table:
    """Selections x structures on the validation split."""
    grid = next((one for one in load("tuner_ablations")["grids"] if one["task"] == task), None)
    ways = ("random", "static", "rounds", "bounded")
    rows = (
        []
        if grid is None
        else [[form, *(_four(line.get(way)) for way in ways)] for form, line in grid["rows"].items()]
    )
    head = ["structure", "random", "best at once", "best in rounds", "in rounds, with bound"]
    return filled(head, rows)


def _four(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def agreement_table() -> Table:
    """How far seeds agree about the columns."""
    rows = [
        [line["variant"], str(len(line["seeds"])), f"{line['overlap']:.3f}", f"{line['chance']:.4f}"]
        for line in load("tuner_ablations")["agreement"]
    ]
    return filled(["variant", "seeds", "overlap of two seeds", "chance"], rows)


def ablation_table(part: str) -> Table:
    """One part of measure D, on the validation split."""
    rows = []
    for line in load("tuner_ablations")["parts"].get(part, []):
        metric = "nll" if "nll" in line["mean"] else "accuracy"
        stable, chance = line["selection"].get("stability_of_halves"), line["selection"].get("chance")
        halves = "" if stable is None else f"{stable:.2f} ({chance:.3f})"
        forgetting = line["mean"].get("forgetting")
        rows.append(
            [
                line["variant"] if line["task"] == "e2e" else f"{line['variant']}, {line['task']}",
                f"{line['learning_rate']:g}",
                f"{line['mean'][metric]:.4f}",
                str(len(line["seeds"])),
                "" if forgetting is None else f"{forgetting:.2f}",
                halves,
            ]
        )
    return filled(["variant", "rate", "score", "seeds", "forgetting", "halves agree (chance)"], rows)


def claims_table() -> Table:
    """The claims of measure C, as the numbers judge them."""
    rows = []
    for claim in load("tuner_quality")["claims"]:
        words = {True: "holds", False: "**does not hold**", None: "not measured yet"}[claim["holds"]]
        rows.append([claim["claim"], words, claim.get("against", "")])
    return ["claim", "verdict", "best rival"], rows


def cpu_table() -> Table:
    """Measure B: RSA's step over other methods' on a CPU, round by round."""
    found = load("tuner_cpu")
    rows = []
    for batch in found["batches"]:
        for line in batch["ratios"]:
            low, high = line["quartiles"]
            target = line["time_target"]
            words = "" if target is None else f"{target:.2f}" if line["time_met"] else f"**{target:.2f} missed**"
            name = f"{line['ratio']}, {batch['batch']}"
            rows.append([name, f"{line['time']:.3f}", f"{low:.3f} to {high:.3f}", words])
    return ["ratio, batch", "median", "quartiles", "target"], rows


def swap_table() -> Table:
    """Measure E: going from one adapter to another, in every way, and what it leaves of the base."""
    found = load("tuner_swap")
    records = [] if found is None else found["records"]
    cards = dict.fromkeys((r["card"], r["versions"]["torch"], r["versions"]["peft"], r["shape"]) for r in records)
    where = "; ".join(f"{card}, torch {torch}, PEFT {peft}, {shape}" for card, torch, peft, shape in cards)
    head = [f"method and way ({where})" if where else "method and way"]
    head += ["switch, ms", "with first token, ms", "token alone, ms", "kernels", "switches", "bits of the base"]
    rows = []
    for one in records:
        name = f"{one['family']} {one['way']}" + (f", {one['card']}" if len(cards) > 1 else "")
        if one["error"] is not None:
            rows.append([name, "failed", "", "", "", "", one["error"].splitlines()[0][:60]])
            continue
        kernels = f"{one['calls']} calls" if one["launches"] is None else str(one["launches"])
        off = one["base"]["differing_share"]
        times = [_between(one[part]) for part in ("switch", "first_token", "forward")]
        bits = "equal" if one["base"]["bit_equal"] else f"{off:.1%} off"
        rows.append([name, *times, kernels, str(one["switch"]["times"]), bits])
    return filled(head, rows)


def _between(time: dict[str, Any]) -> str:
    low, high = time["quartiles"]
    return f"{time['ms']:.2f} ({low:.2f} to {high:.2f})"


PLOTTED = {
    *("floor", "rsa", "rsa-depth-55", "rsa-depth-25", "rsa-depth-75", "lora-bf16", "lora", "shira", "miss"),
    *("full", "dora-bf16", "lora-bf16-depth-55", "lora-bf16-depth-25"),
}


TABLES: dict[str, Callable[[], Table]] = {
    "ratios": ratio_table,
    "hosts": hosts_table,
    "forms-b10": lambda: forms_table("b10"),
    "ablation-forms": lambda: ablation_table("d-forms-b10"),
    "cost-1b": lambda: cost_table("1b 8x1024"),
    "cost-1b-ckpt": lambda: cost_table("1b 8x1024 ckpt"),
    "cost-1b-compiled": lambda: cost_table("1b 8x1024 compiled"),
    "cost-1b-small": lambda: cost_table("1b 1x512"),
    "cost-3b": lambda: cost_table("3b 8x1024"),
    "ratios-others": other_ratio_table,
    "cpu": cpu_table,
    "quality-e2e-2": lambda: quality_table("e2e", 2),
    "quality-e2e-8": lambda: quality_table("e2e", 8),
    "quality-b10-2": lambda: quality_table("b10", 2),
    "quality-b10-8": lambda: quality_table("b10", 8),
    "quality-b77-2": lambda: quality_table("b77", 2),
    "quality-b77-8": lambda: quality_table("b77", 8),
    "depth": depth_table,
    "grid-e2e": lambda: grid_table("e2e"),
    "grid-b10": lambda: grid_table("b10"),
    "ablation-default": lambda: ablation_table("d-default"),
    "ablation-robust": lambda: ablation_table("d-robust"),
    "ablation-density": lambda: ablation_table("d-density"),
    "ablation-warm": lambda: ablation_table("d-warm"),
    "agreement": agreement_table,
    "claims": claims_table,
    "ablation-scaled": lambda: ablation_table("d-scaled"),
    "swap": swap_table,
}


def written(page: str) -> str:
    """The page with every marked table written anew."""
    return with_tables(page, TABLES, PAGE.name)


def plots(folder: Path) -> Iterable[Path]:
    """Time against memory, and the learning-rate curves of the ablations, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "rsa_ops", "font.size": 9, "figure.figsize": (7, 4.2)})
    folder.mkdir(exist_ok=True)
    yield _cost_plot(folder / "tuner_cost.svg")
    yield _rates_plot(folder / "tuner_rates.svg")
    yield _depth_plot(folder / "tuner_depth.svg")


def _cost_plot(file: Path) -> Path:
    from matplotlib import pyplot as plt

    records = of_setting("1b 8x1024")
    figure, axes = plt.subplots()
    for name in dict.fromkeys(r["row"] for r in records):
        found = summary([r for r in records if r["row"] == name])
        if name not in PLOTTED or found is None or found[1] is None:
            continue
        ours = name.startswith("rsa")
        axes.scatter(
            found[1] / GIB, found[0], color="#0b6e4f" if ours else "#444", marker="o" if ours else "s", s=22
        )
        # RSA's names stand to the left of their points, the others' to the right, so that neighbours never meet.
        side, place = ("right", (-6, -1)) if ours else ("left", (6, -4))
        axes.annotate(
            name, (found[1] / GIB, found[0]), xytext=place, textcoords="offset points", fontsize=7, ha=side
        )
    axes.margins(x=0.2)
    axes.set(xlabel="peak memory, GiB", ylabel="ms a step", title=f"1.04B, 8 x 1024 tokens, {records[0]['card']}")
    return _saved(figure, file)


def _rates_plot(file: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    lines = [
        *next(t for t in load("tuner_quality")["tables"] if (t["task"], t["r"]) == ("e2e", 2))["rows"],
        *[line for line in load("tuner_ablations")["parts"]["d-core"] if line["variant"].startswith("columns")],
    ]
    for line in lines:
        rates = {float(rate): score for rate, score in line["rates_tried"].items() if score is not None}
        style = "-" if line["variant"].startswith(("rsa", "columns")) else "--"
        axes.plot(list(rates), [-score for score in rates.values()], style, marker=".", label=line["variant"])
    axes.set(xscale="log", ylim=(None, 1.28), xlabel="learning rate", ylabel="validation loss a token")
    axes.set_title("E2E, SmolLM2-135M, LoRA-equal r=2: every method by its rate")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return _saved(figure, file)


def _depth_plot(file: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    lines = load("tuner_quality")["depth"]
    looks = {"rsa": ("RSA, equal shares", "#0b6e4f", "o-"), "lora": ("LoRA, the same layers", "#444", "s--")}
    planned = ("RSA, shares by importance", "#8fbfa8", "^:")
    for method, (name, color, style) in (*looks.items(), ("rsa", planned)):
        points = sorted(
            (line["depth"], line["mean"]["nll"])
            for line in lines
            if line["variant"].startswith(method) and line["planned"] == (name == planned[0])
        )
        axes.plot(*zip(*points, strict=True), style, color=color, label=name)
    whole = next(line["mean"]["nll"] for line in lines if line["variant"].startswith("lora") and line["depth"] == 1)
    axes.axhline(whole, color="#444", linewidth=0.6)
    axes.annotate("LoRA on all layers", (0.26, whole), xytext=(0, 3), textcoords="offset points", fontsize=7)
    axes.set(xlabel="share of the layers, from the top", ylabel="test loss a token")
    axes.set_title("E2E, SmolLM2-135M, the whole budget of LoRA r=8 in the upper layers")
    axes.legend(fontsize=7)
    return _saved(figure, file)


def _saved(figure: Any, file: Path) -> Path:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    return file


def main() -> None:
    """Write, or check."""
    page = PAGE.read_text(encoding="utf-8")
    new = written(page)
    if "--check" in sys.argv:
        if new != page:
            raise SystemExit("docs/tuner.md is not what the JSON says; run python benchmarks/tuner_doc.py")
        return
    PAGE.write_text(new, encoding="utf-8")
    for file in plots(PAGE.parent / "images"):
        print(file)


if __name__ == "__main__":
    main()
