"""What is noted of an execution when it begins: where its results come from."""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.codecs import encode
from mltraq_prefect.errors import UnsupportedType
from mltraq_prefect.execution import Step
from mltraq_prefect.execution.fingerprints.manifest import versions_in
from mltraq_prefect.orchestration.current import facts_of_flow
from mltraq_prefect.provenance.facts import Facts, Setting, begin
from mltraq_prefect.provenance.secrets import Secrets, is_secret_name
from mltraq_prefect.storage.tables.executions import LARGEST

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200


def facts_of(
    steps: Sequence[Step],
    kwargs: Mapping[str, Any],
    seed: int,
    setting: Setting,
    secrets: Secrets,
) -> Facts | None:
    """Return what is known of an execution that begins now; None if nothing is to be noted.

    Args:
        steps: Its steps.
        kwargs: Its kwargs.
        seed: Its seed.
        setting: What is to be noted.
        secrets: Hides secrets.
    """
    if setting == "off":
        return None
    exact, shown = _kwargs(kwargs, secrets)
    manifests = [manifest for step in steps for manifest in (step.code, step.inputs)]
    functions = itertools.chain.from_iterable(own.functions.values() for own in manifests)
    return begin(
        {step.name: step.fingerprint for step in steps},
        seed,
        [function.__code__.co_filename for function in functions],
        versions_in(own.parts for own in manifests),
        setting,
        secrets,
        exact=exact,
        shown=shown,
        **facts_of_flow(),
    )


def note_by_hand(state: StoredState) -> str | None:
    """Note, once for an experiment, where runs come from that no `execute` has executed.

    Args:
        state: The stored state of the experiment.

    Returns:
        The id under which it is noted; None if nothing is to be noted.
    """
    for facts in state.executions.values():
        if not facts.steps:
            return facts.id_execution
    made = facts_of([], {}, 0, state.store.provenance, state.store.secrets())
    if made is None:
        return None
    state.executions[made.id_execution] = made
    return made.id_execution


def _kwargs(kwargs: Mapping[str, Any], secrets: Secrets) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the envelopes of kwargs, and what a person sees of those that are not kept."""
    exact: dict[str, bytes] = {}
    shown: dict[str, str] = {}
    for key, value in dict(kwargs).items():
        if is_secret_name(key) and isinstance(value, (str, bytes)) and value:
            shown[key] = "left out: its name is that of a secret"
        elif secrets.is_in(value):
            shown[key] = "left out: there is a secret in it"
        else:
            try:
                data = encode(value, path=f"kwargs.{key}")
            except UnsupportedType:
                shown[key] = _told(value, secrets)
                continue
            if len(data) <= LARGEST:
                exact[key] = data
            else:
                shown[key] = f"{type(value).__name__}, {len(data):,} bytes"
    return exact, shown


def _told(value: Any, secrets: Secrets) -> str:
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return f"{getattr(value, '__module__', '')}.{name}"
    try:
        return secrets.code(secrets.text(_short.repr(value)))
    except Exception:  # of the repr of a user's class
        return type(value).__qualname__
