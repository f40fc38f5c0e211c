"""The dashboard as a reader meets it: a real server and a headless Chromium, on a phone and on a desk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..browser import barriers
from .test_pages import words

SIZES = {"phone": (390, 844), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def address(filled: Path) -> Iterator[str]:
    pytest.importorskip("streamlit", reason="streamlit is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("there is no chromium on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "rsa_ops.cli", "dashboard", "--store", str(filled), "--port", str(port)]
    server = subprocess.Popen([*command, "--lang", "en"], env=os.environ, stdout=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_nothing_complains_overflows_or_leaves_the_machine(
    address: str, chromium: Any, size: str, language: str
) -> None:
    width, height = SIZES[size]
    page = chromium.new_page(viewport={"width": width, "height": height})
    complaints: list[str] = []
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: _leaves(request.url, address) and complaints.append(request.url))
    page.goto(address)
    page.wait_for_selector(".rsa-table td")
    if language == "ja":
        _open_sidebar(page)
        page.get_by_text("日本語").click()
    titles = [getattr(words(language), name) for name in ("portfolio", "verdicts", "what_if", "audit", "run")]
    for title in titles:
        _open_sidebar(page)
        page.locator('[data-testid="stSidebarNavLink"]').filter(has_text=title).click()
        page.get_by_role("heading", name=title, exact=True).wait_for()
        page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
        page.wait_for_function("!document.querySelector('[data-stale=\"true\"]')")
        page.wait_for_timeout(500)  # what was stale fades in
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), title
        assert page.locator('[data-testid="stException"]').count() == 0, title
        assert barriers(page) == [], title
    assert complaints == []
    page.close()


def _open_sidebar(page: Any) -> None:
    button = page.locator('[data-testid="stExpandSidebarButton"]')
    if button.count() and button.is_visible():
        button.click()


def _leaves(url: str, address: str) -> bool:
    return not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))
