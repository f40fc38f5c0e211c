"""`RsaConfig`: what a Robust Sparse Adapter is, in JSON. Owns the budget; knows no layer and no tensor.

The chosen columns are not here: they are data, and travel as integer buffers with the values. The number of
columns of a layer follows from this config and the layer's shape alone, because PEFT builds an adapter before it
loads it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from peft import PeftConfig

from rsa_ops.tuners.registration import peft_type

DEFAULT_DENSITY = 0.02
"""Share of a layer's input columns that learn, when the config names neither `density` nor `r`."""

SCORINGS = ("fisher", "magnitude", "random")

_PLANNED = {
    "structure": "Subnets, tiles and single elements are not built yet.",
    "mode": "'resident' (values written into the frozen weight) is not built yet.",
    "scoring": "Other scores are not built yet.",
    "selection": "Selection in several rounds is not built yet.",
}


@dataclass
class RsaConfig(PeftConfig):  # type: ignore[misc]  # peft ships no types that mypy is told to follow
    """Configuration of a Robust Sparse Adapter: `k` trained input columns per target linear layer.

    Every layer keeps its own quota of columns: a top-k over all layers would starve some of them.

    Attributes:
        density: share of a layer's `in_features` columns that learn, in (0, 1]. 0.02 when `r` is not given either.
        r: LoRA-equal budget instead of `density`: as many columns as give the `r * (in + out)` parameters that LoRA
            of rank `r` would have on the same layer, rounded to whole columns.
        structure: "columns".
        mode: "auto" or "additive"; both compute `base(x) + x[..., columns] @ values.T`.
        scoring: how `RsaCallback` picks columns before the first step. "fisher": diagonal of the token-level
            empirical Fisher, summed over rows. "magnitude": sum of squared weights. "random": the seeded start.
        selection: "static", once before the first step.
        scoring_batches: training batches that "fisher" reads.
        seed: decides the columns that hold before, or instead of, a selection.
        target_modules: names, a regular expression, or "all-linear" (every linear but the output head).
        exclude_modules: names or a regular expression to leave out.
        modules_to_save: modules that learn in full and are saved with the adapter, such as a new head.
        layers_to_transform: layer indices to adapt; needs `target_modules` as a list.
        layers_pattern: name of the layer list that `layers_to_transform` counts in.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field is out of range, or names something that is not built.
    """

    density: float | None = field(default=None, metadata={"help": "Share of input columns that learn, in (0, 1]."})
    r: int | None = field(default=None, metadata={"help": "LoRA-equal budget r * (in + out) per layer."})
    structure: str = field(default="columns", metadata={"help": "Only 'columns'."})
    mode: str = field(default="auto", metadata={"help": "'auto' or 'additive'."})
    scoring: str = field(default="fisher", metadata={"help": "'fisher', 'magnitude' or 'random'."})
    selection: str = field(default="static", metadata={"help": "Only 'static'."})
    scoring_batches: int = field(default=8, metadata={"help": "Training batches read to score columns."})
    seed: int = field(default=0, metadata={"help": "Seed of the columns that hold before a selection."})
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
        self._check_choice("structure", ("columns",))
        self._check_choice("mode", ("auto", "additive"))
        self._check_choice("scoring", SCORINGS)
        self._check_choice("selection", ("static",))
        self._check_whole("scoring_batches", self.scoring_batches, least=1)
        self._check_whole("seed", self.seed, least=0)
        self._check_targets()

    def columns(self, in_features: int, out_features: int) -> int:
        """Columns that learn in a layer of weight `[out_features, in_features]`: 1 to `in_features`."""
        if self.r is not None:
            wanted = self.r * (in_features + out_features) / out_features
        else:
            wanted = (self.density or DEFAULT_DENSITY) * in_features
        return min(in_features, max(1, round(wanted)))

    def _check_budget(self) -> None:
        if self.density is not None and self.r is not None:
            raise ValueError(
                f"RsaConfig: expected one budget, found two (density={self.density}, r={self.r}). Keep `density` "
                "for a share of the columns, or `r` for the parameter count of LoRA at that rank."
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
                f"RsaConfig.density: expected a share in (0, 1], found {self.density}. It is the share of input "
                "columns that learn, not the sparsity: 0.02 trains 2 % of each layer."
            )
        self.density = float(self.density)

    def _check_choice(self, name: str, known: tuple[str, ...]) -> None:
        found = getattr(self, name)
        if found not in known:
            raise ValueError(
                f"RsaConfig.{name}: expected {' or '.join(map(repr, known))}, found {found!r}. {_PLANNED[name]}"
            )

    @staticmethod
    def _check_whole(name: str, value: object, *, least: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"RsaConfig.{name}: expected a whole number, found {value!r}.")
        if value < least:
            raise ValueError(f"RsaConfig.{name}: expected {least} or more, found {value}.")

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
