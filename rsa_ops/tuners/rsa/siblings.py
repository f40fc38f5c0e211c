"""Which linear layers read the same input, by their names beside each other in one parent module.

Only names tell this before anything runs. A wrong guess costs no correctness: the layers then merely choose their
columns together, and each gathers its own input (`delta.SharedPick` compares the tensors).
"""

from __future__ import annotations

FAMILIES = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin"),
    ("query_proj", "key_proj", "value_proj"),
    ("q", "k", "v"),
    ("gate_proj", "up_proj"),
    ("wi_0", "wi_1"),
    ("w1", "w3"),
)

CROSS = ("crossattention", "cross_attn", "encoder_attn", "EncDecAttention", "encdec")
"""Marks of an attention whose keys and values read another sequence than its queries."""


def family(name: str) -> tuple[str, ...]:
    """Dotted names of the layers that read the same input as `name`, itself among them, in the model's order."""
    parent, _, child = name.rpartition(".")
    for members in FAMILIES:
        if child in members:
            crossed = any(mark in parent for mark in CROSS)
            kept = members[1:] if crossed and len(members) == 3 else members
            if child not in kept:
                return (name,)
            return tuple(f"{parent}.{member}" if parent else member for member in kept)
    return (name,)
