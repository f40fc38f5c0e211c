"""How long work shows itself while it goes on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What stages and executors call; the command line draws it, tests record it."""

    def stage(self, name: str, words: str) -> None:
        """A stage begins."""

    def note(self, words: str) -> None:
        """One line worth keeping: something was found, reused or finished."""

    def update(self, job: str, share: float, words: str) -> None:
        """A job has done `share` of its work, in [0, 1]."""

    def finish(self, job: str, words: str) -> None:
        """A job ended; `words` say how."""


class Silent:
    """A `Progress` that shows nothing."""

    def stage(self, name: str, words: str) -> None:
        """Show nothing."""

    def note(self, words: str) -> None:
        """Show nothing."""

    def update(self, job: str, share: float, words: str) -> None:
        """Show nothing."""

    def finish(self, job: str, words: str) -> None:
        """Show nothing."""
