"""What is known of an execution."""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from mltraq_prefect.environment import PROVENANCE
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.provenance import git, machine, program
from mltraq_prefect.provenance.secrets import Secrets

Setting = Literal["on", "anonymous", "off"]
"""Whether it is noted where results come from; without user and host, if anonymous."""


def setting_of(given: object, variable: str | None) -> Setting:
    """Return what is to be noted.

    Args:
        given: What a program says: one of the words, True, False, or None to leave it to the
            variable.
        variable: What the environment says, if anything.

    Raises:
        InvalidInput: It is another word.
    """
    source, word = ("provenance", given) if given is not None else (PROVENANCE, variable or "on")
    for setting in get_args(Setting):
        if word == setting or (word is True and setting == "on"):
            return cast(Setting, setting)
    if word is False:
        return "off"
    raise InvalidInput(f"{source} is {word!r}; use 'on', 'anonymous' or 'off'")


INLINE = 2_048
"""Bytes of an envelope up to which the row, and a frame, have the value itself."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one call of execute; what is not known is None.

    Attributes:
        id_execution: UUID as text.
        started_at: When it began (UTC, aware).
        steps: Fingerprints of its steps, by name, in order.
        seed: Seed of random numbers.
        exact: Its kwargs, those that can be stored exactly: the envelope of each, or what refers
            to a large one.
        shown: Of its other kwargs, what a person sees of them.
        git_commit: Commit of the working tree with the code.
        git_branch: Its branch.
        git_dirty: Whether something was changed since that commit.
        git_diff: What was changed, or the beginning of it; or the name of a large text.
        git_remote: Where the repository comes from.
        script: The script or notebook, by its path in the working tree.
        command: How the program was called.
        user_name: Who has called it.
        host: Name of the machine.
        python: Implementation and version of Python.
        platform: The operating system.
        cpu: Number and model of its CPUs.
        gpu: Number and model of its GPUs.
        versions: Versions of what the steps import, by name.
        flow: Name of the flow.
        flow_run_id: Id of the flow run.
        deployment: Name of the deployment.
        deployment_id: Its id.
    """

    id_execution: str
    started_at: datetime.datetime
    steps: Mapping[str, str]
    seed: int = 0
    exact: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    shown: Mapping[str, str] = field(default_factory=dict, repr=False)
    git_commit: str | None = None
    git_branch: str | None = None
    git_dirty: bool | None = None
    git_diff: str | None = field(default=None, repr=False)
    git_remote: str | None = None
    script: str | None = None
    command: str | None = None
    user_name: str | None = None
    host: str | None = None
    python: str | None = None
    platform: str | None = None
    cpu: str | None = None
    gpu: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    flow: str | None = None
    flow_run_id: str | None = None
    deployment: str | None = None
    deployment_id: str | None = None


SURROUNDINGS = (
    *("git_commit", "git_branch", "git_dirty", "git_remote", "script", "command", "user_name"),
    *("host", "python", "platform", "cpu", "gpu"),
    *("flow", "flow_run_id", "deployment", "deployment_id"),
)
"""The facts about code, program and machine that are texts or truth values."""


def begin(
    steps: Mapping[str, str],
    seed: int,
    files: Iterable[str],
    versions: Mapping[str, str],
    setting: Setting,
    secrets: Secrets,
    **given: Any,
) -> Facts:
    """Return the facts of an execution that begins now.

    Args:
        steps: Fingerprints of its steps, by name.
        seed: Seed of random numbers.
        files: Files with code of the steps: git is asked about the first that there is.
        versions: Versions of what the steps import.
        setting: Whether user and host are noted.
        secrets: Hides secrets.
        **given: Further facts, such as kwargs and those of Prefect.
    """
    wanted = given.pop("script", None)
    asked: list[Callable[[], dict[str, Any]]] = [
        lambda: dict(machine.facts()),
        lambda: {"command": program.command(secrets)},
        lambda: {} if setting == "anonymous" else program.people(),
        lambda: _code(files, wanted or program.script(), secrets),
    ]
    found: dict[str, Any] = {}
    for ask in asked:
        with suppress(Exception):  # whatever is odd about a machine, results count more
            found |= ask()
    found |= given
    for name in ("git_remote", "git_branch", "script", "flow", "deployment"):
        if found.get(name):
            found[name] = secrets.text(found[name])
    now = datetime.datetime.now(datetime.UTC)
    return Facts(str(uuid.uuid4()), now, dict(steps), seed, versions=dict(versions), **found)


def _code(files: Iterable[str], script: str | None, secrets: Secrets) -> dict[str, Any]:
    """Return the script, and what git says of it."""
    main = None if script is None else Path(script).resolve()
    found = git.facts_of(_folder([*files, *([] if main is None else [str(main)])]), main)
    root = found.pop("git_root", None)
    if found.get("git_diff"):
        found["git_diff"] = secrets.diff(found["git_diff"])
    if main is not None and root is not None and main.is_relative_to(root):
        found["script"] = main.relative_to(root).as_posix()
    elif script is not None:
        found["script"] = program.shown_path(script)
    return found


def _folder(files: Iterable[str]) -> Path:
    """Return the folder of the first of some files that there is; else that of the program."""
    for file in files:
        path = Path(file)
        if path.is_absolute() and path.is_file():
            return path.resolve().parent
    return Path(os.curdir).resolve()
