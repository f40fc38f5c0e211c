"""`RsaConfig`: what a Robust Sparse Adapter is, in JSON. Owns the budget; knows no layer and no tensor.

The chosen places are not here: they are data, and travel as integer buffers with the values. The shapes of a
layer's adapter follow from this config and the layer's shape alone, because PEFT builds an adapter before it loads
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from peft import PeftConfig

from rsa_ops.tuners.registration import peft_type
from rsa_ops.tuners.rsa.layout import STRUCTURES, Layout, lay_out

DEFAULT_DENSITY = 0.02
"""Share of each weight that learns, when the config names neither `density` nor `r`."""

MODES = ("auto", "additive", "resident")
SCORINGS = ("fisher", "relative", "grad", "snip", "magnitude", "random")
SELECTIONS = ("static", "rounds")
CHOICES = ("top", "sample")


@dataclass
class RsaConfig(PeftConfig):  # type: ignore[misc]  # peft ships no types that mypy is told to follow
    """Configuration of a Robust Sparse Adapter: chosen blocks of every target weight learn, the rest is frozen.

    Every layer keeps its own quota of blocks: a top-k over all layers would starve some of them. `budget_pattern`
    (see `plan_budget`) shifts the quotas between layers, within bounds.

    Attributes:
        density: share of each weight that learns, in (0, 1]. 0.02 when `r` is not given either.
        r: LoRA-equal budget instead of `density`: `r * (in + out)` parameters a layer, rounded to whole blocks.
        structure: "columns", "spread", "subnet", "tiles" or "elements"; see `layout`.
        row_groups: of "spread": groups of output rows that choose their own columns, lowered to a divisor of out.
            None: one where the budget buys 32 columns or more, four with 16, 64 with 4, and so on.
        tile: of "tiles": edge of a tile.
        share_siblings: of "columns" and "spread": layers that read the same input (q/k/v, gate/up) share their
            column sets, hence one gather and one tensor kept for backward. Their budgets are added and shared out
            evenly.
        activation_scaling: multiply the values of a column by the inverse root mean square of its input, relative
            to the layer's median, so that one learning rate moves every column's output alike. Measured by
            `RsaCallback`.
        mode: "resident" writes the values into the frozen weight after each optimizer step, so that the forward
            pass is the base model's; "additive" computes `base(x) + delta(x)`. "auto" is resident wherever that is
            safe.
        scoring: how `RsaCallback` ranks blocks. "fisher": diagonal of the token-level empirical Fisher. "relative":
            the same, divided by the mean squared input. "grad":
            squared mean gradient of a batch; "snip": |weight * gradient|; both form one layer's dense gradient at
            a time. "magnitude": squared weights. "random": the seeded start.
        selection: "static": once before the first step. "rounds": in several rounds early in training, a block
            being admitted when the lower confidence bound of its score clears the threshold.
        choice: "top" takes the best blocks; "sample" draws them with probability proportional to the root of their
            score.
        scoring_batches: training batches read for each selection or round.
        rounds: rounds of selection.
        confidence: z of the lower bound in the first round, falling to 0 in the last; 0 admits by the mean alone.
        selection_share: share of the optimizer steps within which all rounds happen.
        regrow: share of the adapter's blocks moved at each of ten later selections, falling linearly to 0; 0 is
            off.
        budget_pattern: module name -> multiple of its budget; 0, or a name not in the pattern, is not adapted.
        seed: decides the blocks that hold before, or instead of, a selection.
        target_modules: names, a regular expression, or "all-linear" (every linear but the output head).
        exclude_modules: names or a regular expression to leave out.
        modules_to_save: modules that learn in full and are saved with the adapter, such as a new head.
        layers_to_transform: layer indices to adapt; needs `target_modules` as a list.
        layers_pattern: name of the layer list that `layers_to_transform` counts in.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field is out of range, or names something that does not exist.
    """

    density: float | None = field(default=None, metadata={"help": "Share of each weight that learns, in (0, 1]."})
    r: int | None = field(default=None, metadata={"help": "LoRA-equal budget r * (in + out) per layer."})
    structure: str = field(default="spread", metadata={"help": f"One of {', '.join(STRUCTURES)}."})
    row_groups: int | None = field(default=None, metadata={"help": "Groups of output rows of 'spread'."})
    tile: int = field(default=32, metadata={"help": "Edge of a tile of 'tiles'."})
    share_siblings: bool = field(default=True, metadata={"help": "q/k/v and gate/up share one column set."})
    activation_scaling: bool = field(default=True, metadata={"help": "Scale values by inverse activation rms."})
    mode: str = field(default="auto", metadata={"help": "'auto', 'additive' or 'resident'."})
    scoring: str = field(default="relative", metadata={"help": f"One of {', '.join(SCORINGS)}."})
    selection: str = field(default="static", metadata={"help": "'static' or 'rounds'."})
    choice: str = field(default="sample", metadata={"help": "'top' or 'sample'."})
    scoring_batches: int = field(default=8, metadata={"help": "Training batches read for each selection."})
    rounds: int = field(default=4, metadata={"help": "Rounds of selection."})
    confidence: float = field(default=1.64, metadata={"help": "z of the lower bound in the first round."})
    selection_share: float = field(default=0.1, metadata={"help": "Share of the steps in which rounds happen."})
    regrow: float = field(default=0.0, metadata={"help": "Share of blocks moved at later selections; 0 is off."})
    budget_pattern: dict[str, float] | None = field(
        default=None, metadata={"help": "Module name -> multiple of its budget."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the blocks that hold before a selection."})
    target_modules: list[str] | set[str] | str | None = field(
        default="all-linear", metadata={"help": "Module names, a regular expression, or 'all-linear'."}
    )
    exclude_modules: list[str] | set[str] | str | None = field(
        default=None, metadata={"help": "Module names or a regular expression to leave out."}
    )
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "Modules trained and saved in full."})
    layers_to_transform: list[int] | int | None = field(default=None, metadata={"help": "Layer indices to adapt."})
    layers_pattern: list[str] | str | None = field(default=None, metadata={"help": "Name of the layer list."})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type()
        self._check_budget()
        for name, known in (
            ("structure", STRUCTURES),
            ("mode", MODES),
            ("scoring", SCORINGS),
            ("selection", SELECTIONS),
            ("choice", CHOICES),
        ):
            self._check_choice(name, known)
        for name in ("scoring_batches", "rounds", "row_groups", "tile"):
            if name != "row_groups" or self.row_groups is not None:
                self._check_whole(name, getattr(self, name), least=1)
        self._check_whole("seed", self.seed, least=0)
        self._check_number("confidence", 0, math.inf)
        self._check_number("selection_share", 0, 1)
        self._check_number("regrow", 0, 1)
        if self.scoring == "random" and (self.selection == "rounds" or self.regrow > 0):
            raise ValueError(
                "RsaConfig.selection: rounds and regrow rank blocks, and scoring='random' does not. Choose another "
                "scoring, or selection='static' and regrow=0."
            )
        self._check_pattern()
        self._check_targets()

    @property
    def has_scales(self) -> bool:
        """Whether every block carries a scale: for activation scaling, and to keep unadmitted blocks at zero."""
        return self.activation_scaling or self.selection == "rounds" or self.regrow > 0

    def budget(self, in_features: int, out_features: int, multiple: float = 1.0) -> float:
        """Values that a layer of weight `[out_features, in_features]` may learn, before rounding to blocks."""
        if self.r is not None:
            return self.r * (in_features + out_features) * multiple
        return (self.density or DEFAULT_DENSITY) * in_features * out_features * multiple

    def layout(
        self, in_features: int, out_features: int, siblings: Sequence[int] = (), multiple: float = 1.0
    ) -> Layout:
        """Shapes of the adapter of one layer.

        Args:
            in_features: columns of the weight.
            out_features: rows of the weight.
            siblings: `out_features` of the layers that share this one's columns; their budgets are pooled.
            multiple: of the budget, from `budget_pattern`.
        """
        wanted = self.budget(in_features, out_features, multiple)
        if siblings:
            pooled = wanted + sum(self.budget(in_features, rows, multiple) for rows in siblings)
            wanted = pooled / (out_features + sum(siblings)) * out_features
        return lay_out(
            self.structure,
            out_features,
            in_features,
            wanted,
            row_groups=self.row_groups,
            tile=self.tile,
            siblings=siblings,
        )

    def _check_budget(self) -> None:
        if self.density is not None and self.r is not None:
            raise ValueError(
                f"RsaConfig: expected one budget, found two (density={self.density}, r={self.r}). Keep `density` "
                "for a share of the weights, or `r` for the parameter count of LoRA at that rank."
            )
        if self.r is not None:
            self._check_whole("r", self.r, least=1)
            return
        if self.density is None:
            self.density = DEFAULT_DENSITY
        if isinstance(self.density, bool) or not isinstance(self.density, int | float):
            raise TypeError(f"RsaConfig.density: expected a number in (0, 1], found {self.density!r}.")
        if not math.isfinite(self.density) or not 0 < self.density <= 1:
            raise ValueError(
                f"RsaConfig.density: expected a share in (0, 1], found {self.density}. It is the share of each "
                "weight that learns, not the sparsity: 0.02 trains 2 % of each layer."
            )
        self.density = float(self.density)

    def _check_choice(self, name: str, known: tuple[str, ...]) -> None:
        found = getattr(self, name)
        if found not in known:
            raise ValueError(f"RsaConfig.{name}: expected {' or '.join(map(repr, known))}, found {found!r}.")

    @staticmethod
    def _check_whole(name: str, value: object, *, least: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"RsaConfig.{name}: expected a whole number, found {value!r}.")
        if value < least:
            raise ValueError(f"RsaConfig.{name}: expected {least} or more, found {value}.")

    def _check_number(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"RsaConfig.{name}: expected a number, found {value!r}.")
        if not math.isfinite(value) or not least <= value <= most:
            raise ValueError(f"RsaConfig.{name}: expected {least} to {most}, found {value}.")

    def _check_pattern(self) -> None:
        for name, multiple in (self.budget_pattern or {}).items():
            if isinstance(multiple, bool) or not isinstance(multiple, int | float):
                raise TypeError(f"RsaConfig.budget_pattern[{name!r}]: expected a number, found {multiple!r}.")
            if not math.isfinite(multiple) or multiple < 0:
                raise ValueError(f"RsaConfig.budget_pattern[{name!r}]: expected 0 or more, found {multiple}.")
        if self.budget_pattern is not None and not any(self.budget_pattern.values()):
            raise ValueError("RsaConfig.budget_pattern: no module has a budget; leave it out, or give some.")

    def _check_targets(self) -> None:
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            if isinstance(value, list):  # PEFT looks names up one by one, and turns sets back into lists in JSON
                setattr(self, name, set(value))
        if self.layers_to_transform is not None and isinstance(self.target_modules, str):
            raise ValueError(
                f"RsaConfig.layers_to_transform: needs `target_modules` as a list of names, found "
                f"{self.target_modules!r}. PEFT ignores layer indices beside a pattern or 'all-linear'; name the "
                "modules, for example ['q_proj', 'v_proj'], or write the layers into the pattern."
            )
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError("RsaConfig.layers_pattern: means nothing without `layers_to_transform`; give both.")
