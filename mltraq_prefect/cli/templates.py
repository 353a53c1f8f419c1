"""The command that copies a flow and its deployment, to start an experiment of your own from.

They are the files of the repository: a wheel has them in `mltraq_prefect/templates`, see
`pyproject.toml`; a checkout has them where they are edited.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.errors import InvalidInput

FILES = (
    "flows/coin_toss.py",
    "deployments/prefect.yaml",
    "deployments/automations.py",
    "deployments/serve.py",
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "init", _init, "init", "init study")


def _init(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Where to; this folder if none is given.")
    ] = ".",
) -> str:
    """Copy a flow and its deployment, to start an experiment of your own from."""
    made = copy_templates(Path(folder))
    return "\n".join(
        [
            *map(str, made),
            f"python {made[0]} runs the flows; the comments in {made[1]} say how to deploy them.",
        ]
    )


def copy_templates(folder: Path) -> list[Path]:
    """Copy the templates; the folder and those above it are made if they are not there.

    Returns:
        The new files.

    Raises:
        InvalidInput: A file is there already, or cannot be written; nothing is overwritten.
    """
    targets = [folder / name for name in FILES]
    if there := [str(path) for path in targets if path.exists()]:
        raise InvalidInput(
            f"nothing was copied, because these are there already: {', '.join(there)}; "
            "name another folder (mltraq-prefect init FOLDER), or move them away"
        )
    try:
        for name, target in zip(FILES, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                file.write((_source() / name).read_bytes())
    except OSError as error:
        raise InvalidInput(f"{folder} is not a folder that can be written to: {error}") from None
    return targets


def _source() -> Traversable:
    package = files("mltraq_prefect")
    packed = package / "templates"
    return packed if packed.is_dir() else package / ".."
