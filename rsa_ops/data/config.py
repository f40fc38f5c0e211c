"""INTERIM STUB: overwrite."""
from __future__ import annotations
from rsa_ops.core.record import Value
class Columns(Value):
    text: str | None = None
    label: str | None = None
    source: str | None = None
    target: str | None = None
    slices: tuple[str, ...] = ()
class SampleConfig(Value):
    train: int
    validation: int
    test: int
class SplitConfig(Value):
    validation: float = 0.1
    test: float = 0.2
    seed: int = 1
class DataConfig(Value):
    source: str
    columns: Columns
    sample: SampleConfig | None = None
    split: SplitConfig = SplitConfig()
