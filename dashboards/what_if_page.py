"""Page: the total cost of ownership again, with other assumptions."""

from __future__ import annotations

import streamlit as st
from reading import Sources
from words import Words


def show(sources: Sources, words: Words) -> None:
    """Waits for the scenario model."""
    del sources
    st.info(words.missing)
