"""What the papers of a version are made from: the records of its run, its files, and where its code came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from rsa_ops.core.comparison import ArmSummary, Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.digest import Digest
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.run_record import RunRecord
from rsa_ops.core.validation import Validation
from rsa_ops.core.verdict import Verdict
from rsa_ops.errors import IntegrityError
from rsa_ops.governance.entry import Instant


@dataclass(frozen=True)
class Source:
    """The code that trained: rsa_ops by version and digest of its source, and the libraries that compute.

    `commit` is the git commit of the pipeline's folder, `clean` whether its tree had no changes; None outside of a
    repository. `environment` is the digest of `environment.txt`, all that was installed when the papers were made.
    """

    version: str
    package: Digest
    libraries: tuple[str, ...]
    environment: Digest
    commit: str | None
    clean: bool | None


@dataclass(frozen=True)
class Dossier:
    """A version and all that is known about it.

    `digest` is the adapter's, `files` its files by relative name. `verdict_entry` is the hash of the ledger's entry
    about the verdict, `judged_at` its time. `base_licence` is an SPDX id, None where nobody has said it.
    """

    model: str
    version: str
    digest: Digest
    files: Mapping[str, Digest]
    description: str
    base_licence: str | None
    run: RunRecord
    validation: Validation
    measurements: Measurements
    comparison: Comparison
    tco: Tco
    verdict: Verdict
    verdict_entry: Digest
    judged_at: Instant
    source: Source

    @property
    def name(self) -> str:
        """`MODEL/VERSION`, the subject of the papers."""
        return f"{self.model}/{self.version}"

    @property
    def summary(self) -> ArmSummary:
        """The candidate's arm in the comparison, over all its seeds.

        Raises:
            IntegrityError: the comparison does not have it.
        """
        found = self.comparison.arm(self.measurements.cell.arm)
        if found is None:
            raise IntegrityError(
                f"comparison.json has no arm {self.measurements.cell.arm}", hint="It is another run's."
            )
        return found

    def require_consistent(self) -> None:
        """The records are about one adapter, one base, one test set.

        Raises:
            IntegrityError: they are not, so no paper is signed.
        """
        test = self.run.test_digest
        pairs = (
            ("the verdict's candidate", self.verdict.candidate_digest, self.digest),
            ("the trained cell's adapter", self.measurements.artifact_digest, self.digest),
            ("the verdict's test set", self.verdict.test_digest, test),
            ("the comparison's test set", self.comparison.test_digest, test),
            ("the validated test set", self.validation.split("test").digest, test),
            ("the verdict's policy", self.verdict.policy_digest, self.run.policy_digest),
        )
        for what, found, expected in pairs:
            if found != expected:
                raise IntegrityError(
                    f"no papers for {self.name}: {what} is {found}, expected {expected}",
                    hint="The results folder holds records of different runs. Run again.",
                )


def package_url(name: str, version: str) -> str:
    """The package URL of a Python package (purl: a `+` in a version is written `%2B`)."""
    return f"pkg:pypi/{quote(name)}@{quote(version, safe='.-_~')}"


def hexadecimal(digest: Digest) -> str:
    """The digest as other formats write it, without `sha256:`."""
    return digest.removeprefix("sha256:")
