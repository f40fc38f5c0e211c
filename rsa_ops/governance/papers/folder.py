"""The papers of a version as files: what each is called, and all of them made from one dossier."""

from __future__ import annotations

from collections.abc import Mapping

from rsa_ops.gates.policy import Policy
from rsa_ops.governance.keys import Signer
from rsa_ops.governance.papers.attestation import attest
from rsa_ops.governance.papers.bom import bom
from rsa_ops.governance.papers.card import card
from rsa_ops.governance.papers.dossier import Dossier
from rsa_ops.governance.papers.judgement import full_result, simple_result
from rsa_ops.governance.papers.provenance import provenance

FOLDER = "papers"
SIGNATURE = "papers/model.sig"
PROVENANCE = "papers/provenance.dsse.json"
TEST_RESULT = "papers/test-result.dsse.json"
SIMPLE_RESULT = "papers/svr.dsse.json"
CARD = "papers/MODEL_CARD.md"
BOM = "papers/bom.cdx.json"
POLICY = "papers/policy.json"
ENVIRONMENT = "papers/environment.txt"
ATTESTATIONS = (PROVENANCE, TEST_RESULT, SIMPLE_RESULT)
PAPERS = (SIGNATURE, *ATTESTATIONS, CARD, BOM, POLICY, ENVIRONMENT)

VERDICT = "verdict.json"
RECORDS = (VERDICT, "verdict.md", "comparison.json", "tco.json", "run.json", "design.json", "validation.json")
"""Files of the run that the papers stand on; with the measurements of the released cell they are named, too."""


def make_papers(
    dossier: Dossier, policy: Policy, environment: str, signature: bytes, signer: Signer
) -> Mapping[str, bytes]:
    """Every paper by its artifact path; equal arguments give equal bytes.

    Raises:
        IntegrityError: the records contradict each other, or a paper does not keep to its format.
    """
    dossier.require_consistent()
    return {
        SIGNATURE: signature,
        PROVENANCE: attest(provenance(dossier, signer.public.key), signer),
        TEST_RESULT: attest(full_result(dossier), signer),
        SIMPLE_RESULT: attest(simple_result(dossier), signer),
        CARD: card(dossier).encode("utf-8"),
        BOM: bom(dossier),
        POLICY: policy.to_json().encode("utf-8"),
        ENVIRONMENT: environment.encode("utf-8"),
    }
