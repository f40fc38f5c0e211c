"""Stage: the champion as a model that answers. The one door by which a promoted adapter is loaded; it fails closed.

```python
from rsa_ops.stages.load import load_champion

champion = load_champion("incident-triage.e8f321f8ca93", ledger="ledger.db", store="sqlite:///mlflow.db")
champion.predict(["A remote attacker ..."])
```
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from rsa_ops.core.digest import short
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.evaluation.benchmark import PROBE
from rsa_ops.files import digest_file
from rsa_ops.gates.policy import CHAMPION
from rsa_ops.governance.checkpoint import read_checkpoint
from rsa_ops.governance.papers.folder import SIGNATURE
from rsa_ops.governance.papers.signature import verify_signature
from rsa_ops.governance.store import Ledger, open_ledger, utc_now
from rsa_ops.governance.verify import verify_rows
from rsa_ops.serving.checks import Check
from rsa_ops.serving.load import Served, load_checked
from rsa_ops.serving.trial import Probe
from rsa_ops.stages.ledger import default_address
from rsa_ops.stages.resolve import Target, resolve, standing_store
from rsa_ops.tracking.judged import judged_answers
from rsa_ops.tracking.registry import fetch_adapter
from rsa_ops.tracking.runs import fetch_files
from rsa_ops.tracking.store import Store


def load_champion(
    model: str,
    alias: str = CHAMPION,
    *,
    ledger: str | None = None,
    store: str | None = None,
    base: str | None = None,
    device: str | None = None,
    checkpoint: Path | None = None,
) -> Served:
    """Resolve `alias` of `model` once, check what it stands for, and load it.

    `ledger` and `store` as for the commands; `base` is where the base model lies here, if not where the adapter
    says. With a `checkpoint` from elsewhere the whole ledger is verified against it first; without one, only the
    entries that are used, so that a ledger which was cut off or written anew by a holder of its keys passes.

    Raises:
        IntegrityError: bytes, signature, base, registry or ledger are not as they must be. MissingError: something
        is gone, or the version has no papers.
    """
    address = ledger or default_address()
    found = standing_store(address, store)
    with closing(open_ledger(address, write=False)) as opened:
        if checkpoint is not None:
            _verify_whole(opened, checkpoint)
        with opened.view() as view:
            target = resolve(view, found, model, alias)
    with tempfile.TemporaryDirectory() as scratch:  # mode 0700: what is checked there is what is loaded
        folder = fetch_target(found, target, Path(scratch))
        sample = _sample(found, target, Path(scratch))
        return load_checked(
            folder,
            target.resolved,
            (signature_check(found, target, Path(scratch)),),
            base=base,
            device=device,
            sample=sample,
        )


def fetch_target(store: Store, target: Target, scratch: Path) -> Path:
    """The adapter folder of a target, brought below `scratch`.

    Raises:
        MissingError: its files are gone.
    """
    return fetch_adapter(store, target.version, scratch / "adapter")


def signature_check(store: Store, target: Target, scratch: Path) -> Check:
    """The files are signed (OMS) by the key that the papers in the ledger name."""
    papers = target.papers

    def look(folder: Path) -> str:
        bundle = fetch_files(store, papers.run, SIGNATURE, scratch / "signature")
        found = digest_file(bundle)
        if found != papers.signature:
            raise IntegrityError(
                f"the signature file in MLflow is {short(found)}, the papers name {short(papers.signature)}",
                hint="It was exchanged after the papers were written.",
            )
        verify_signature(folder, bundle.read_bytes(), papers.signer_public_key)
        return f"OMS, {short(papers.signature)}, as its papers name"

    return Check("signature", look)


def judged_probe(store: Store, target: Target, scratch: Path) -> Probe:
    """The texts and answers that the version was judged with; where its papers name them, the bytes must agree.

    Raises:
        MissingError: MLflow has none. IntegrityError: other bytes than the papers name.
    """
    named = target.papers.probe
    judged = judged_answers(store, target.version, PROBE, scratch / "probe", named)
    kept = "as MLflow has them" if named is None else "named by its papers"
    return Probe(texts=judged.texts, outputs=judged.outputs, source=f"run {judged.run[:8]}, {kept}")


def _sample(store: Store, target: Target, scratch: Path) -> tuple[str, ...]:
    try:
        return judged_probe(store, target, scratch).texts
    except MissingError:
        return ()  # serving needs no judged answers, only texts on which an adapter shows that it does something


def _verify_whole(ledger: Ledger, checkpoint: Path) -> None:
    verified = verify_rows(ledger.rows(), now=utc_now(), checkpoints=[read_checkpoint(checkpoint)])
    if verified.first_bad is not None:
        raise IntegrityError(
            f"the ledger {ledger.address} does not verify: {verified.first_bad}",
            hint="Nothing is loaded from it. `rsa-ops audit verify` tells more.",
        )
