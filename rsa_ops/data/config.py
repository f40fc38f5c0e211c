"""The `data:` section of pipeline.yaml: where the rows come from, what their columns mean, how they are split."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rsa_ops.core.record import Value
from rsa_ops.data.checks.config import ChecksConfig

Task = Literal["classification", "generation"]


class Columns(Value):
    """Names of the columns of the source: either `text` and `label`, or `source` and `target`.

    `id` names the examples (default: a hash of their content, independent of the order of rows). Rows of the same
    `group` (one customer, one document) stay in one split and count as one draw. `slices` are columns by
    which scores are reported.
    """

    text: str | None = None
    label: str | None = None
    source: str | None = None
    target: str | None = None
    id: str | None = None
    group: str | None = None
    slices: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_pair(self) -> Self:
        pairs = ((self.text, self.label), (self.source, self.target))
        given = [pair for pair in pairs if pair != (None, None)]
        if len(given) != 1 or None in given[0]:
            raise ValueError(
                "give either `text` and `label` (classification) or `source` and `target` (generation)"
            )
        return self

    @property
    def input_column(self) -> str:
        """The column that a model reads."""
        return str(self.text or self.source)

    @property
    def output_column(self) -> str:
        """The column that a model should answer: the label, or the reference text."""
        return str(self.label or self.target)

    def named(self) -> dict[str, str]:
        """Setting (`data.columns.text`) -> column of the source, for every column that must be there."""
        single = {
            f"data.columns.{setting}": name
            for setting, name in self.model_dump(exclude={"slices"}).items()
            if name is not None
        }
        return single | {f"data.columns.slices[{index}]": name for index, name in enumerate(self.slices)}


class SampleConfig(Value):
    """Rows to keep of each split, to fit a time budget; a split left out keeps all its rows.

    Drawn by hash (see `SplitConfig.seed`) and, for classification, in proportion to the labels.
    """

    train: int | None = Field(default=None, ge=1)
    validation: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)

    def rows(self, split: str) -> int | None:
        """The size wanted of `split`; None for all."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


class SplitConfig(Value):
    """Shares of the rows, in (0, 1), for the splits that no source is given for; the rest is for training."""

    validation: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _rest_for_training(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("`validation` and `test` together leave nothing for training; keep their sum below 1")
        return self


class DataConfig(Value):
    """The `data:` section.

    A source is a path (.csv, .tsv, .jsonl, .parquet, or a folder written by `datasets`' save_to_disk; relative to
    the pipeline's folder), `hub:<id>` (with `/<config>` and `@<revision>` where needed) or `asset:<name>`.
    `max_line_bytes` bounds a line of a text file, so that a file without line ends is refused and not read.
    """

    source: str = Field(min_length=1)
    test_source: str | None = None
    validation_source: str | None = None
    columns: Columns
    encoding: str = "utf-8"
    max_line_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    sample: SampleConfig | None = None
    split: SplitConfig = SplitConfig()
    checks: ChecksConfig = ChecksConfig()

    @model_validator(mode="after")
    def _known_encoding(self) -> Self:
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise ValueError(f"unknown encoding {self.encoding!r}; for example utf-8, cp932, latin-1") from error
        return self

    def sources(self) -> tuple[str, ...]:
        """Every source that is read, the reference for drift included."""
        named = (self.source, self.validation_source, self.test_source, self.checks.drift.reference)
        return tuple(source for source in named if source is not None)
