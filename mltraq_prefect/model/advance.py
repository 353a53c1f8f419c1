"""How far work is that takes long."""

from __future__ import annotations

from collections.abc import Callable

Advance = Callable[[int, int], None]
"""Takes how much is done, and how much there is in all."""


def unseen(_done: int, _total: int) -> None:
    """Show nobody how far it is."""
