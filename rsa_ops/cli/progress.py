"""Progress for people, on stderr: live bars on a terminal, one line for each event elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Lines:
    """For logs and CI: stages, notes and endings, each on a line with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def stage(self, name: str, words: str) -> None:
        """A stage begins."""
        self._line(f"{name}: {words}")

    def note(self, words: str) -> None:
        """One line worth keeping."""
        self._line(f"  {words}")

    def update(self, job: str, share: float, words: str) -> None:
        """Steps inside a job are not worth a line in a log."""

    def finish(self, job: str, words: str) -> None:
        """A job ended."""
        self._line(f"  {job}: {words}")

    def _line(self, words: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - self._start:6.1f} s] {words}\n")
        sys.stderr.flush()


class Live:
    """For terminals: the lines above, and below them one bar for each job that is running."""

    def __init__(self, console: Console, bars: Bars) -> None:
        self._console = console
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def stage(self, name: str, words: str) -> None:
        """A stage begins."""
        self._console.print(f"[bold]{name}[/bold] {words}", highlight=False)

    def note(self, words: str) -> None:
        """One line worth keeping."""
        self._console.print(f"  {words}", markup=False, highlight=False)

    def update(self, job: str, share: float, words: str) -> None:
        """A job has done `share` of its work."""
        if job not in self._tasks:
            self._tasks[job] = self._bars.add_task(job, total=1.0, words=words)
        self._bars.update(self._tasks[job], completed=share, words=words)

    def finish(self, job: str, words: str) -> None:
        """A job ended."""
        if job in self._tasks:
            self._bars.remove_task(self._tasks.pop(job))
        self._console.print(f"  {job}: {words}", markup=False, highlight=False)


@contextmanager
def shown_progress() -> Iterator[Lines | Live]:
    """The progress that suits where stderr goes."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        yield Live(console, bars)
