"""Page: the newest entries of the ledger, and whether the whole of it verifies."""

from __future__ import annotations

import reading
import streamlit as st
from reading import Sources
from words import Words

from rsa_ops.core.digest import short
from rsa_ops.governance.audit import AuditReport
from rsa_ops.governance.entry import Sealed
from rsa_ops.stages.audit import Question, audit

AT_ONCE = 5_000
"""Ledgers up to this size are verified when the page opens (about a second); larger ones when asked."""

NEWEST = 200


def show(sources: Sources, words: Words) -> None:
    """The state of the ledger, then its newest entries."""
    if sources.ledger is None:
        st.info(words.no_ledger)
        return
    found = reading.ledger(sources.ledger, NEWEST)
    st.metric(words.entries, f"{found.count:,}")
    head = found.newest[0].hash if found.newest else ""
    asked = st.button(words.verify) if found.count > AT_ONCE else True
    if st.button(words.verify_mlflow):
        _state(_verify(sources.ledger, head, sources.store), words)
    elif asked:
        _state(_verify(sources.ledger, head, None), words)
    else:
        st.info(words.not_verified)
    st.subheader(words.newest_entries.format(count=len(found.newest)))
    st.dataframe([_row(sealed, words) for sealed in found.newest], hide_index=True, width="stretch")


@st.cache_data(ttl=60, max_entries=4)
def _verify(address: str, head: str, store: str | None) -> AuditReport:
    """`head` makes a longer ledger another question."""
    del head
    return audit(Question(address, None, store=store, offline=store is None))


def _state(report: AuditReport, words: Words) -> None:
    bad = [report.first_bad] if report.first_bad is not None else []
    findings = [*bad, *report.registry]
    if findings:
        st.error(f"**{words.broken}**\n\n" + "\n".join(f"- {finding}" for finding in findings))
    else:
        st.success(words.verified)
    left, right = st.columns(2)
    left.markdown(f"**{words.checked}**\n\n" + "\n".join(f"- {line}" for line in report.checked))
    right.markdown(f"**{words.not_checked}**\n\n" + "\n".join(f"- {line}" for line in report.not_checked))
    for note in report.notes:
        st.warning(str(note))


def _row(sealed: Sealed, words: Words) -> dict[str, object]:
    entry = sealed.entry
    subject = short(entry.subject) if entry.subject.startswith("sha256:") else entry.subject
    values = (entry.sequence, entry.at[:19].replace("T", " "), entry.kind.value, subject, entry.role.value)
    return dict(zip(words.entry_columns, values, strict=True))
