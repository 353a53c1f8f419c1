"""Ending runs early: what a step raises to end its run, and rules that decide when."""

from __future__ import annotations


class StopRun(Exception):
    """Ends a run cleanly: it keeps its fields, and counts as done.

    `Run.log` raises it when a rule says so; a step may raise it, too. Its state in the ledger is
    ``stopped``, and no other step follows.
    """
