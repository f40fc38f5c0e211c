"""Makes `ROBUST_SPARSE` a PEFT type at run time, then registers it through PEFT's own door.

`peft.utils.register_peft_method` (0.21) refuses a name that `PeftType` does not list, and `PeftType` is a closed
enum without entry points; upstream's answer is to edit the enum. We append one member instead, in the way
`enum` itself builds members, so that `PeftType("ROBUST_SPARSE")`, iteration, hashing and JSON behave as for LoRA.
"""

from __future__ import annotations

from typing import Any

from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import register_peft_method

NAME = "ROBUST_SPARSE"
PREFIX = "rsa_"


def peft_type() -> Any:
    """The `PeftType` member of this method; created on the first call, the same object afterwards.

    Raises:
        RuntimeError: this Python's or PEFT's enum no longer takes a member at run time.
    """
    if NAME not in PeftType.__members__:
        _append_member()
    return PeftType[NAME]


def register(config_class: type, model_class: type) -> None:
    """Register the two classes under `ROBUST_SPARSE`, prefix `rsa_`.

    Does nothing when the name is registered already: by an earlier import, or by a PEFT that carries it itself.
    """
    member = peft_type()
    if member in PEFT_TYPE_TO_CONFIG_MAPPING:
        return
    register_peft_method(name=NAME.lower(), config_cls=config_class, model_cls=model_class, prefix=PREFIX)


def _append_member() -> None:
    # Any other way (functional API, subclass) is refused by an enum that has members. These five places are what
    # CPython 3.11 to 3.13 look in; the check below catches the version that looks elsewhere.
    member = str.__new__(PeftType, NAME)
    member._name_ = NAME
    member._value_ = NAME
    type.__setattr__(PeftType, NAME, member)
    PeftType._member_map_[NAME] = member
    PeftType._member_names_.append(NAME)
    PeftType._value2member_map_[NAME] = member
    if PeftType(NAME) is not member or member not in list(PeftType) or member != NAME:
        raise RuntimeError(
            f"could not add {NAME} to peft.PeftType: this combination of Python and PEFT builds enums differently. "
            "Expected Python 3.11 to 3.13 with peft 0.21; pin these, or report the versions to rsa_ops."
        )
