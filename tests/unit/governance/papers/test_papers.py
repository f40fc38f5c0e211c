"""Each paper says what the records say, in a format that the tools of its standard read."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.governance.entry import Kind, Role
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.keyring import Holder
from rsa_ops.governance.keys import FileKey, make_key
from rsa_ops.governance.papers import folder as paper
from rsa_ops.governance.papers.attestation import attest, read_attestation, statement
from rsa_ops.governance.papers.bom import bom, require_valid
from rsa_ops.governance.papers.card import card
from rsa_ops.governance.papers.folder import make_papers
from rsa_ops.governance.papers.judgement import full_result, simple_result
from rsa_ops.governance.papers.provenance import provenance
from rsa_ops.governance.payloads import PointerMoved

from ..conftest import begun
from .conftest import ENVIRONMENT, MODEL, POLICY, Candidate, a_candidate, a_verdict, judged, sha


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """Not to be changed."""
    return a_candidate(tmp_path_factory.mktemp("candidate"))


def opened(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(data)["payload"]))
    return found


def library_key(key: FileKey) -> SSlibKey:
    raw = key.public.verifier().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SSlibKey(key.public.key, "ed25519", "ed25519", {"public": raw.hex()})


def holder(made: Candidate, name: str = "operator") -> Holder:
    return made.kit.verify().walk.keyring.holders[made.kit.key(name).public.key]


@pytest.mark.parametrize("name", paper.ATTESTATIONS)
def test_securesystemslib_verifies_every_attestation(made: Candidate, name: str) -> None:
    envelope = Envelope.from_dict(json.loads(made.documents[name]))
    assert list(envelope.verify([library_key(made.kit.key("operator"))], 1)) == [
        made.kit.key("operator").public.key
    ]
    with pytest.raises(VerificationError):
        envelope.verify([library_key(made.kit.key("approver"))], 1)
    envelope.payload = envelope.payload.replace(b"Statement/v1", b"Statement/v2")
    with pytest.raises(VerificationError):
        envelope.verify([library_key(made.kit.key("operator"))], 1)


def test_what_securesystemslib_signs_is_read_here_too(made: Candidate, tmp_path) -> None:
    from securesystemslib.signer import CryptoSigner

    key = made.kit.key("operator")
    private = key._private
    envelope = Envelope(b"{}", "application/vnd.in-toto+json", {})
    envelope.sign(CryptoSigner(private, library_key(key)))
    assert read_attestation(json.dumps(envelope.to_dict()).encode(), holder(made)) == {}


@pytest.mark.parametrize("name", paper.ATTESTATIONS)
def test_the_in_toto_library_takes_every_statement(made: Candidate, name: str) -> None:
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.v1 import statement_pb2

    Statement.copy_from_pb(ParseDict(opened(made.documents[name]), statement_pb2.Statement())).validate()


def test_the_subject_is_the_adapter_and_every_file_of_it(made: Candidate) -> None:
    for name in paper.ATTESTATIONS:
        first, *files = opened(made.documents[name])["subject"]
        assert "sha256:" + first["digest"]["sha256"] == made.papers.digest
        found = {entry["name"].rpartition("/")[2]: "sha256:" + entry["digest"]["sha256"] for entry in files}
        assert found == made.dossier.files


def test_the_provenance_names_base_data_source_commit_and_libraries(made: Candidate) -> None:
    predicate = opened(made.documents[paper.PROVENANCE])["predicate"]
    found = predicate["buildDefinition"]["resolvedDependencies"]
    digests = {f"sha256:{entry['digest']['sha256']}" for entry in found if "sha256" in entry.get("digest", {})}
    # base, data, training split, source of the package: as the records of the run have them
    assert digests == {sha("e"), sha("2"), sha("0"), sha("7")}
    assert [entry["digest"]["gitCommit"] for entry in found if "gitCommit" in entry.get("digest", {})] == ["a" * 40]
    assert [e["uri"] for e in found if "uri" in e] == ["pkg:pypi/peft@0.21.2", "pkg:pypi/torch@2.13.0%2Bcpu"]
    (environment,) = predicate["runDetails"]["byproducts"]
    assert "sha256:" + environment["digest"]["sha256"] == digest_bytes(made.documents[paper.ENVIRONMENT])


def test_the_slsa_library_takes_the_provenance(made: Candidate) -> None:
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2

    found = ParseDict(opened(made.documents[paper.PROVENANCE])["predicate"], provenance_pb2.Provenance())
    assert found.build_definition.build_type == "urn:rsa-ops:build-type:train:v1"
    assert found.run_details.metadata.started_on.ToJsonString() == "2026-03-01T11:59:58Z"


def test_without_a_repository_no_commit_is_invented(made: Candidate) -> None:
    dossier = replace(made.dossier, source=replace(made.dossier.source, commit=None, clean=None))
    assert "gitCommit" not in json.dumps(provenance(dossier, sha("1")))


@pytest.mark.parametrize(
    ("outcome", "result", "passed"),
    [
        (Outcome.PROMOTE, "PASSED", 1),
        (Outcome.REJECT, "FAILED", 0),
        (Outcome.INCONCLUSIVE, "FAILED", 0),
        (Outcome.ERROR, "FAILED", 0),
    ],
)
def test_only_what_promotes_is_passed(made: Candidate, outcome: Outcome, result: str, passed: int) -> None:
    dossier = replace(made.dossier, verdict=a_verdict(made.papers.digest, outcome))
    full, simple = full_result(dossier)["predicate"], simple_result(dossier)["predicate"]
    assert (full["result"], len(full["passedTests"]), len(full["failedTests"])) == (result, passed, 1 - passed)
    assert ("RSA_OPS_VERDICT_PROMOTE" in simple["properties"]) is (outcome is Outcome.PROMOTE)
    assert len(simple["properties"]) == 2 * passed


def test_an_attestation_by_another_key_or_with_two_signatures_is_refused(made: Candidate, tmp_path) -> None:
    data = made.documents[paper.PROVENANCE]
    with pytest.raises(IntegrityError):
        read_attestation(data, holder(made, "approver"))
    found = json.loads(data)
    found["signatures"] *= 2
    with pytest.raises(IntegrityError):
        read_attestation(json.dumps(found).encode(), holder(made))
    forged = json.loads(attest(statement(made.dossier, "x", {}), make_key(tmp_path / "thief")))
    forged["signatures"][0]["keyid"] = holder(made).key
    with pytest.raises(IntegrityError, match="not signed"):
        read_attestation(json.dumps(forged).encode(), holder(made))
    for junk in (b"", b"[]", b"{}"):
        with pytest.raises(IntegrityError):
            read_attestation(junk, holder(made))


def test_the_bill_of_materials_keeps_to_the_strict_schema_of_cyclonedx_1_7(made: Candidate) -> None:
    text = made.documents[paper.BOM].decode()
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    found = json.loads(text)
    model = found["metadata"]["component"]
    assert (found["specVersion"], model["type"]) == ("1.7", "machine-learning-model")
    assert "sha256:" + model["hashes"][0]["content"] == made.papers.digest
    (ancestor,) = model["pedigree"]["ancestors"]
    assert "sha256:" + ancestor["hashes"][0]["content"] == made.papers.base_digest
    assert ancestor["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    data = next(part for part in found["components"] if part["type"] == "data")
    assert data["licenses"][0]["license"]["name"] == made.dossier.validation.attribution
    accuracy = made.dossier.summary.metrics["accuracy"]
    metric = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]
    ends = metric["confidenceInterval"]
    assert (metric["type"], metric["value"]) == ("accuracy", f"{accuracy.value:.6f}")
    assert (ends["lowerBound"], ends["upperBound"]) == (f"{accuracy.low:.6f}", f"{accuracy.high:.6f}")


@pytest.mark.parametrize(
    "change", [{"bomFormat": "SPDX"}, {"colour": "red"}, {"serialNumber": "7"}, {"components": [{"type": "model"}]}]
)
def test_a_bill_that_does_not_keep_to_the_schema_is_refused_before_it_is_written(
    made: Candidate, change: dict[str, Any]
) -> None:
    found = {**json.loads(made.documents[paper.BOM]), **change}
    with pytest.raises(IntegrityError, match=r"CycloneDX 1\.7"):
        require_valid(json.dumps(found))


def test_a_slice_that_is_too_small_has_no_number_in_any_paper(made: Candidate) -> None:
    small = next(entry.slice for entry in made.dossier.summary.slices if not entry.assessable)
    metrics = json.loads(made.documents[paper.BOM])["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]
    assert small not in [metric.get("slice") for metric in metrics["performanceMetrics"]]
    (line,) = [line for line in card(made.dossier).splitlines() if line.startswith(f"| {small} ")]
    assert "not assessable" in line


def test_the_model_card_is_one_that_model_hubs_read(made: Candidate) -> None:
    found = ModelCard(made.documents[paper.CARD].decode())
    assert found.data.base_model == "asset:minilm-l6"
    assert found.data.library_name == "peft"
    values = {result.metric_type: result.metric_value for result in found.data.eval_results}
    assert values == {name: entry.value for name, entry in made.dossier.summary.metrics.items()}


def test_the_card_says_intervals_limits_licence_cost_and_verdict(made: Candidate) -> None:
    text = made.documents[paper.CARD].decode()
    accuracy = made.dossier.summary.metrics["accuracy"]
    assert f"| accuracy | {accuracy.value:.4f} [{accuracy.low:.4f}, {accuracy.high:.4f}] |" in text
    for words in ("CC BY 4.0", "Apache-2.0", "released adapter is seed 1", "認証回避", made.papers.digest):
        assert words in text
    for arm in made.dossier.tco.arms:
        assert f"| {arm.arm} | {arm.per_training} | {arm.total} |" in text


def test_text_of_the_user_does_not_break_the_card(made: Candidate) -> None:
    text = made.documents[paper.CARD].decode()
    assert "<b>" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("| accuracy not worse than full")]
    assert line.count(" | ") == 3  # four cells, as the head of its table has


def test_what_nobody_has_stated_is_said_to_be_unstated(made: Candidate) -> None:
    validation = made.dossier.validation.model_copy(update={"attribution": ""})
    dossier = replace(made.dossier, base_licence=None, validation=validation)
    text = card(dossier)
    assert text.count("not stated") == 4  # two licences, and two limits that follow
    assert "licenses" not in next(part for part in json.loads(bom(dossier))["components"] if part["type"] == "data")


def test_equal_records_give_equal_papers(made: Candidate) -> None:
    again = make_papers(
        made.dossier, POLICY, ENVIRONMENT, made.documents[paper.SIGNATURE], made.kit.key("operator")
    )
    assert again == {name: made.documents[name] for name in paper.PAPERS}


@pytest.mark.parametrize("what", ["verdict", "comparison", "measurements", "run"])
def test_records_of_different_runs_get_no_papers(made: Candidate, what: str) -> None:
    changes = {
        "verdict": {"candidate_digest": sha("8")},
        "comparison": {"test_digest": sha("8")},
        "measurements": {"artifact_digest": sha("8")},
        "run": {"policy_digest": sha("8")},
    }
    changed = getattr(made.dossier, what).model_copy(update=changes[what])
    with pytest.raises(IntegrityError, match="no papers"):
        make_papers(replace(made.dossier, **{what: changed}), POLICY, ENVIRONMENT, b"", made.kit.key("operator"))


def test_papers_of_an_adapter_that_no_verdict_is_about_are_found(made: Candidate, tmp_path) -> None:
    kit = begun(tmp_path)
    kit.grant("operator", Role.OPERATOR)
    kit.write(Kind.PAPERS, f"{MODEL}/3", made.papers)
    assert kit.verify().first_bad.flaw is Flaw.WRONG_ORDER
    assert kit.verify().first_bad.sequence == 2


def test_a_version_keeps_the_digest_that_its_papers_name(tmp_path) -> None:
    made = a_candidate(tmp_path)
    other = digest_bytes(b"another adapter")
    judged(made.kit, a_verdict(other), run="second")
    made.kit.write(Kind.PAPERS, f"{MODEL}/4", made.papers.model_copy(update={"version": "4", "digest": other}))
    assert made.kit.verify().first_bad is None
    named = made.kit.verify().walk.order.named
    assert {place: found.digest for place, found in named.items()} == {
        (MODEL, "3"): made.papers.digest,
        (MODEL, "4"): other,
    }
    moved = PointerMoved(model=MODEL, alias="champion", version="4", digest=made.papers.digest, generation=1)
    sealed = made.kit.write(Kind.APPLIED, f"{MODEL}@champion", moved)
    bad = made.kit.verify().first_bad
    assert (bad.flaw, bad.sequence) == (Flaw.BAD_PAYLOAD, sealed.entry.sequence)


@pytest.mark.parametrize("change", [{"digest": digest_bytes(b"second")}, {"version": "5"}])
def test_papers_that_contradict_earlier_ones_or_their_subject_are_found(tmp_path, change: dict[str, str]) -> None:
    made = a_candidate(tmp_path)
    judged(made.kit, a_verdict(digest_bytes(b"second")), run="second")
    sealed = made.kit.write(Kind.PAPERS, f"{MODEL}/3", made.papers.model_copy(update=change))
    bad = made.kit.verify().first_bad
    assert (bad.flaw, bad.sequence) == (Flaw.BAD_PAYLOAD, sealed.entry.sequence)


def test_an_approver_may_not_write_papers(made: Candidate) -> None:
    with pytest.raises(UsageError, match="may not write papers"):
        made.kit.write(Kind.PAPERS, f"{MODEL}/3", made.papers, by="approver")
