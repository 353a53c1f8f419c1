"""What is asked before something is destroyed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mltraq_prefect.errors import InvalidInput

YES = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether something shall be done, unless that has been said.

    Args:
        what: What will be done, as in ``delete experiment 'a'``.
        yes: Whether the command line has said so.

    Raises:
        InvalidInput: There is nobody to ask.
        typer.Abort: The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"there is no terminal to ask whether to {what}; give --yes to do it")
    typer.confirm(f"{what[:1].upper()}{what[1:]}?", abort=True, err=True)
