"""When two texts count as the same, and the hash that decides where a row goes."""

from __future__ import annotations

import hashlib
import unicodedata


def same_text(text: str) -> str:
    """The form in which equal texts agree: NFKC, case folded, runs of white space as one blank."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def place(seed: int, purpose: str, name: str) -> int:
    """A 64-bit number drawn by `name`, the same on every machine and independent of all other rows."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode()).digest()[:8], "big")
