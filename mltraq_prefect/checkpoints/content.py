"""What is stored, as checkpoints see it."""

from __future__ import annotations

from typing import Protocol

from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.runs import Runs


class Content(Protocol):
    """What is stored: an experiment."""

    @property
    def name(self) -> str:
        """What identifies the experiment in its database."""

    @property
    def fields(self) -> Namespace:
        """What is tracked of the experiment as a whole."""

    @property
    def runs(self) -> Runs:
        """Its runs, as far as they are in memory."""

    @property
    def tags(self) -> dict[str, str]:
        """Texts that people have given it, by name."""

    @property
    def note(self) -> str:
        """A text that tells people of it."""
