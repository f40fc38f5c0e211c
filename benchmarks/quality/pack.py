"""Weights in files small enough to travel, without loss.

A GGUF file of 4-bit blocks becomes half a gigabyte once it is written as float32. Here its blocks are kept as
they are, in the order and under the names of the float32 checkpoint, and expanded where they are used. Block
layouts: ggml's `ggml-quants.c` (Q4_1: half scale, half offset, 16 bytes of two nibbles; Q8_0: half scale, 32
signed bytes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

BLOCK = 32
Q4_1_BYTES, Q8_0_BYTES = 20, 34
RAW = "raw"


def expand(kind: str, data: np.ndarray, device: str = "cpu") -> Tensor:
    """float32 [rows, columns] of `data`, uint8 [rows, bytes] of Q4_1 or Q8_0 blocks; `raw` is passed through."""
    values = torch.from_numpy(data).to(device)
    if kind == RAW:
        return values
    if kind == "Q8_0":
        blocks = values.reshape(values.shape[0], -1, Q8_0_BYTES)
        scale = blocks[..., :2].contiguous().view(torch.float16).float()
        return (scale * blocks[..., 2:].contiguous().view(torch.int8).float()).reshape(values.shape[0], -1)
    if kind == "Q4_1":
        blocks = values.reshape(values.shape[0], -1, Q4_1_BYTES)
        ends = blocks[..., :4].contiguous().view(torch.float16).float()
        nibbles = torch.cat([blocks[..., 4:] & 15, blocks[..., 4:] >> 4], dim=-1).float()
        return (ends[..., :1] * nibbles + ends[..., 1:]).reshape(values.shape[0], -1)
    raise ValueError(f"expected raw, Q4_1 or Q8_0, found {kind!r}")


def pack_gguf(gguf: Path, checkpoint: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The blocks of `gguf` under the names of `checkpoint`, its float32 conversion: "<kind>:<name>" -> array.

    A conversion renames tensors and permutes rows of the attention's projections. Both are found by comparing
    values, not by knowing the rules, so what comes out is the checkpoint to the bit or an error.
    """
    from gguf import GGUFReader

    found = {}
    wanted = {_print(name, array): name for name, array in checkpoint.items()}
    for tensor in GGUFReader(str(gguf)).tensors:
        kind = tensor.tensor_type.name
        data = np.array(tensor.data)
        if kind == "F32":
            name = _take(wanted, tensor.name, data, checkpoint)
            found[f"{RAW}:{name}"] = data
            continue
        dense = expand(kind, data).numpy()
        name = _take(wanted, tensor.name, dense, checkpoint)
        order = _row_order(dense, checkpoint[name], tensor.name)
        found[f"{kind}:{name}"] = np.ascontiguousarray(data[order])
    if wanted:
        raise ValueError(
            f"{gguf.name} lacks {len(wanted)} tensors of its conversion, such as {min(wanted.values())}"
        )
    return found


def write_pieces(folder: Path, stem: str, arrays: Mapping[str, np.ndarray], limit: int) -> list[str]:
    """Write `arrays` into files of at most `limit` bytes each (a larger array alone in its own); their names."""
    pieces: list[dict[str, np.ndarray]] = [{}]
    size = 0
    for name, array in arrays.items():
        if pieces[-1] and size + array.nbytes > limit:
            pieces.append({})
            size = 0
        pieces[-1][name] = array
        size += array.nbytes
    names = [f"{stem}-{number}-of-{len(pieces)}.safetensors" for number in range(1, len(pieces) + 1)]
    for name, piece in zip(names, pieces, strict=True):
        save_file(piece, folder / name)
    return names


def read_pieces(folder: Path, names: Iterable[str], device: str = "cpu") -> dict[str, Tensor]:
    """Tensor name -> float32 tensor on `device`, of all pieces.

    Raises:
        FileNotFoundError: a piece has not arrived.
    """
    state: dict[str, Tensor] = {}
    for piece in names:
        if not (folder / piece).is_file():
            raise FileNotFoundError(f"{folder / piece} is missing: bring every piece that manifest.json names")
        for key, array in load_file(folder / piece).items():
            kind, name = key.split(":", 1)
            state[name] = expand(kind, array, device)
    return state


def _print(name: str, array: np.ndarray) -> tuple[Any, ...]:
    """What survives renaming and a permutation of rows: the shape, and the sorted sums of rows as they are."""
    layer = "".join(part for part in name.split(".") if part.isdigit())
    rows = array.reshape(len(array), -1) if array.ndim > 1 else array[None]
    return (layer, array.shape, np.sort(rows.sum(axis=1, dtype=np.float64)).tobytes())


def _take(
    wanted: dict[tuple[Any, ...], str], name: str, dense: np.ndarray, checkpoint: Mapping[str, np.ndarray]
) -> str:
    found = wanted.pop(_print(name, dense), None)
    if found is None or checkpoint[found].shape != dense.shape:
        raise ValueError(f"no tensor of the conversion has the values of {name}")
    return found


def _row_order(dense: np.ndarray, target: np.ndarray, name: str) -> np.ndarray:
    places: dict[bytes, list[int]] = {}
    for index, row in enumerate(dense):
        places.setdefault(row.tobytes(), []).append(index)
    order = np.array([places[row.tobytes()].pop(0) for row in target])
    if not np.array_equal(dense[order], target):
        raise ValueError(f"the rows of {name} are not those of its conversion")
    return order
