"""Heartbeats of a flow run, from a thread that ends as soon as it may.

Prefect's own thread sleeps for a second at a time, and the flow run ends no sooner than it: every
execution would take whole seconds. The events are the same, for automations that wait for them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, SettingsContext, get_settings_context
from prefect.events import emit_event


@contextmanager
def prefects_own_heartbeats_off() -> Iterator[int | None]:
    """Keep Prefect from starting its thread; yield the seconds between heartbeats, if any."""
    context = get_settings_context()
    flows = context.settings.flows
    # Not by `temporary_settings`, which reads and checks all settings again: that takes longer
    # than the flow run needs to begin.
    silent = flows.model_copy(update={"heartbeat_frequency": None})
    settings = context.settings.model_copy(update={"flows": silent})
    with SettingsContext(profile=context.profile, settings=settings):
        yield flows.heartbeat_frequency


@contextmanager
def heartbeats(seconds: int | None) -> Iterator[None]:
    """Send the heartbeats of the current flow run."""
    context = FlowRunContext.get()
    if seconds is None or context is None or context.flow_run is None:
        yield
        return
    flow_run, ended = context.flow_run, threading.Event()

    def beat() -> None:
        _send(flow_run)
        while not ended.wait(seconds):
            _send(flow_run)

    threading.Thread(target=copy_context().run, args=(beat,), name="heart", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _send(flow_run: FlowRun) -> None:
    emit_event(
        "prefect.flow-run.heartbeat",
        resource={
            "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
            "prefect.resource.name": flow_run.name,
        },
    )
