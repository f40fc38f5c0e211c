"""The dashboard: five read-only pages over the records of all runs. `rsa-ops dashboard` serves it.

Arguments: the MLflow store, the ledger (or nothing), the language.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import reading
import streamlit as st
from reading import Sources
from words import LANGUAGES, Words

from rsa_ops.errors import RsaOpsError

STORE, LEDGER, LANGUAGE = sys.argv[1:4]


def main() -> None:
    """Choose language and page; errors of ours become sentences."""
    st.set_page_config(page_title="rsa_ops", page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")
    st.html(f"<style>{reading.STYLE}</style>")
    names = list(LANGUAGES)
    chosen = st.sidebar.radio(
        "Language / 言語",
        names,
        index=names.index(LANGUAGE),
        format_func={"en": "English", "ja": "日本語"}.__getitem__,
        horizontal=True,
    )
    words = LANGUAGES[chosen]
    sources = Sources(STORE, LEDGER or None)
    pages = [
        _page("portfolio_page", sources, words, words.portfolio, "portfolio"),
        _page("verdict_page", sources, words, words.verdicts, "verdicts"),
        _page("what_if_page", sources, words, words.what_if, "what-if"),
        _page("audit_page", sources, words, words.audit, "audit"),
        _page("run_page", sources, words, words.run, "run"),
    ]
    st.navigation(pages).run()
    st.sidebar.caption(words.read_only)


def _page(module: str, sources: Sources, words: Words, title: str, path: str) -> object:
    return st.Page(
        partial(_guarded, module, sources, words, title), title=title, url_path=path, default=path == "portfolio"
    )


def _guarded(module: str, sources: Sources, words: Words, title: str) -> None:
    st.title(title)
    # A page is imported when it is opened: charts, costs and the ledger are no part of the first one.
    try:
        import_module(module).show(sources, words)
    except RsaOpsError as error:
        st.error(f"{error.message}\n\n{error.hint}")


main()
