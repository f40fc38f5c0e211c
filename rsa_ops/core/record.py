"""The base of every value that is written to a file: frozen, strict, nothing extra, with a schema name."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rsa_ops.core.canonical import canonical_json
from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.errors import IntegrityError


class Value(BaseModel):
    """A frozen, strictly typed value; NaN and infinities are refused (missing is never a number)."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True
    )


class Record(Value):
    """A `Value` that is a file of its own.

    Each record declares `schema_` first, so that its JSON starts with `"schema": "rsa_ops/<name>/v1"`.
    """

    @classmethod
    def schema_name(cls) -> str:
        """`rsa_ops/<name>/v1`."""
        return str(cls.model_fields["schema_"].default)

    def to_json(self) -> str:
        """The record as indented JSON text, newline at the end."""
        return self.model_dump_json(indent=2) + "\n"

    def digest(self) -> Digest:
        """SHA-256 over the canonical JSON (RFC 8785) of the record."""
        return digest_bytes(canonical_json(self.model_dump(mode="json")))

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> Self:
        """Parse `text`; `source` names it in errors.

        Raises:
            IntegrityError: the text is no such record (other schema, missing or extra fields, NaN).
        """
        try:
            found = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise cls._no_record(source, f"{place}: {first['msg']}") from error
        if "schema_" not in found.model_fields_set:
            raise cls._no_record(source, "schema: Field required")
        return found

    @classmethod
    def _no_record(cls, source: str, why: str) -> IntegrityError:
        return IntegrityError(
            f"{source} is not a {cls.schema_name()} record: {why}",
            hint="It was made by another version, or changed by hand. Make it again with its own stage.",
        )
