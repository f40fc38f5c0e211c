"""A time stamp by an authority of one's own, made by the openssl program: checked, and refused when it is none."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.governance.timestamp import stamp_file, stamp_path, stamped_at

pytest.importorskip("rfc3161_client", reason="rfc3161-client is not installed")
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program here")

SETTINGS = """
[req]
distinguished_name = name
prompt = no
[name]
CN = test
[tsa_cert]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[root_cert]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[tsa]
default_tsa = tsa1
[tsa1]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


def openssl(folder: Path, *words: str) -> None:
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def authority(folder: Path) -> Path:
    folder.mkdir()
    (folder / "settings").write_text(SETTINGS)
    (folder / "serial").write_text("01\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "settings")
    openssl(folder, "req", "-x509", *key, "-subj", "/CN=root", "-extensions", "root_cert", *out("root"))
    openssl(folder, "req", *key, "-subj", "/CN=tsa", *out("tsa", "csr"))
    signing = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-extfile", "settings")
    openssl(folder, "x509", "-req", "-in", "tsa.csr", *signing, "-extensions", "tsa_cert", "-out", "tsa.pem")
    return folder


def out(name: str, kind: str = "pem") -> tuple[str, ...]:
    return ("-keyout", f"{name}.key", "-out", f"{name}.{kind}")


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("authorities") / "ours")


@pytest.fixture
def address(tsa: Path) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            (tsa / "query").write_bytes(asked)
            if self.path == "/stamp":
                openssl(tsa, "ts", "-reply", "-config", "settings", "-queryfile", "query", "-out", "reply")
            else:
                (tsa / "reply").write_bytes(b"<html>not here</html>")
            self.send_response(200)
            self.end_headers()
            self.wfile.write((tsa / "reply").read_bytes())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def stamped(tmp_path: Path, address: str) -> Path:
    file = tmp_path / "checkpoint.json"
    file.write_text('{"head": "x"}')
    assert stamp_file(file, f"{address}/stamp") == stamp_path(file)
    return file


def test_a_stamped_file_was_there_when_it_was_stamped(stamped: Path, tsa: Path) -> None:
    assert abs(stamped_at(stamped, tsa / "root.pem") - datetime.now(UTC)) < timedelta(minutes=1)


def test_openssl_checks_the_same_stamp(stamped: Path, tsa: Path) -> None:
    words = ("ts", "-verify", "-data", str(stamped), "-in", str(stamp_path(stamped)), "-CAfile", "root.pem")
    openssl(tsa, *words, "-untrusted", "tsa.pem")


def test_a_stamp_of_other_bytes_is_refused(stamped: Path, tsa: Path) -> None:
    stamped.write_text('{"head": "y"}')
    with pytest.raises(IntegrityError, match="no good time stamp"):
        stamped_at(stamped, tsa / "root.pem")


def test_a_stamp_by_an_authority_that_the_roots_do_not_name_is_refused(stamped: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        stamped_at(stamped, authority(tmp_path / "theirs") / "root.pem")


def test_a_stamp_that_was_changed_or_is_none_is_refused(stamped: Path, tsa: Path) -> None:
    good = stamp_path(stamped).read_bytes()
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[: len(good) // 2], b""):
        stamp_path(stamped).write_bytes(bad)
        with pytest.raises(IntegrityError):
            stamped_at(stamped, tsa / "root.pem")
    stamp_path(stamped).unlink()
    with pytest.raises(MissingError):
        stamped_at(stamped, tsa / "root.pem")


def test_roots_that_are_none_are_a_mistake(stamped: Path, tmp_path: Path) -> None:
    (tmp_path / "roots").write_text("no certificate")
    with pytest.raises(UsageError):
        stamped_at(stamped, tmp_path / "roots")
    with pytest.raises(MissingError):
        stamped_at(stamped, tmp_path / "none")


def test_an_authority_that_gives_no_stamp_leaves_no_file(tmp_path: Path, address: str) -> None:
    file = tmp_path / "checkpoint.json"
    file.write_text("{}")
    for place, error in (
        (f"{address}/elsewhere", MissingError),
        ("http://127.0.0.1:9/", MissingError),
        ("file:///etc/passwd", UsageError),
    ):
        with pytest.raises(error):
            stamp_file(file, place)
    assert not stamp_path(file).exists()
