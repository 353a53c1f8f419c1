"""Every name of Prefect that its documentation does not promise, in one place.

The other modules use what is documented, and ask this one for the rest. `UNDOCUMENTED` says which
names that are, since which release each is known, and what happens in a release without it. All are
looked up when they are needed, so a name that has gone costs what it does, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import logging
    from uuid import UUID

    from prefect import Flow, Task
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State, TaskRun
    from prefect.events import Event
    from prefect.task_runners import TaskRunner

CHECKED = "3.9.1"
"""The latest release of Prefect in which all of them were there."""

UNDOCUMENTED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "prefect.context.FlowRunContext": ("3.4.0", "`execute` makes a flow run of its own"),
        "prefect.context.TaskRunContext": ("3.4.0", "steps have no run logger"),
        "prefect.results.get_result_store": ("3.4.0", "steps have no run logger"),
        "prefect.context.SettingsContext": ("3.4.0", "an execution takes a second longer"),
        "prefect.context.get_settings_context": ("3.4.0", "an execution takes a second longer"),
        "Settings.flows.heartbeat_frequency": ("3.6.17", "flow runs have no heartbeats"),
        "prefect.settings.temporary_settings": ("3.4.0", "a lost server is noticed later"),
        "Settings.client.max_retries": ("3.4.0", "a lost server is not waited for"),
        "prefect.events.worker.EventsWorker": ("3.4.0", "a process whose server is lost ends late"),
        "prefect.events.clients.NullEventsClient": (
            *("3.4.0", "a process whose server is lost ends late"),
        ),
        "prefect.context.SyncClientContext": ("3.4.0", "an execution waits for a busy server"),
        "prefect.filesystems.NullFileSystem": ("3.4.0", "an execution waits for a busy server"),
        "prefect.flow_engine.run_flow": ("3.4.0", "an execution waits for a busy server"),
        "prefect.logging.handlers.APILogWorker": ("3.4.0", "an execution waits for a busy server"),
        "prefect.utilities.engine.capture_sigterm": (
            *("3.4.0", "an execution waits for a busy server"),
        ),
        "prefect.exceptions.TerminationSignal": ("3.4.0", "a log line promises what is not told"),
        "prefect.server.api.server.SubprocessASGIServer": (
            *("3.4.0", "a temporary server is waited for as long as Prefect does"),
        ),
        "prefect.client.schemas.actions.ArtifactCreate": ("3.4.0", "the UI shows no progress"),
        "prefect.client.schemas.actions.ArtifactUpdate": ("3.4.0", "the UI shows no progress"),
        "prefect.logging.handlers.PrefectConsoleHandler": ("3.4.0", "notebooks show HTML a line"),
        "prefect.utilities.urls.url_for": ("3.4.0", "runs have no links"),
        "SyncPrefectClient.api_healthcheck": ("3.4.0", "the server is asked for `hello`"),
        "SyncPrefectClient.create_artifact": ("3.4.0", "the UI shows no progress"),
        "Abort.state": ("3.4.0", "a flow run that was cancelled may show as crashed"),
        "ThreadPoolTaskRunner._max_workers": ("3.4.0", "it gets as many batches as a cluster"),
        "loggers and texts of how runs end": ("3.4.0", "a failure is logged more than once"),
        "event prefect.flow-run.heartbeat": ("3.6.17", "automations take a flow run for dead"),
        "variable PREFECT__FLOW_RUN_ID": ("3.4.0", "a deployment is noticed later"),
        "_rendered_url of prefect-sqlalchemy": ("0.5.0", "such a block is refused"),
    }
)
"""Of each name the first release that is known to have it, and what happens without it."""

T = TypeVar("T")

_NOT_IN_PREFECT = (ImportError, AttributeError)

FLOW_RUN_LOGGER = "prefect.flow_runs"
TASK_RUN_LOGGER = "prefect.task_runs"
FLOW_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
TASK_RUN_RETURNED = "Task run failed with state"
RUN_FINISHED = "Finished in state "


# The current runs


def _flow_context() -> Any:
    with suppress(*_NOT_IN_PREFECT):
        from prefect.context import FlowRunContext

        return FlowRunContext.get()
    return None


def _task_context() -> Any:
    with suppress(*_NOT_IN_PREFECT):
        from prefect.context import TaskRunContext

        return TaskRunContext.get()
    return None


def is_in_flow_run() -> bool:
    """Return whether this code runs in a flow."""
    return _flow_context() is not None


def is_in_task_run() -> bool:
    """Return whether this code runs in a task."""
    return _task_context() is not None


def current_flow_run() -> FlowRun | None:
    """Return the flow run in which this code runs."""
    found: FlowRun | None = getattr(_flow_context(), "flow_run", None)
    return found


def current_task_run() -> TaskRun | None:
    """Return the task run in which this code runs."""
    found: TaskRun | None = getattr(_task_context(), "task_run", None)
    return found


def current_flow() -> Flow[..., Any] | None:
    """Return the flow in which this code runs."""
    found: Flow[..., Any] | None = getattr(_flow_context(), "flow", None)
    return found


def file_of_flow() -> str | None:
    """Return the file that the function of the current flow is in; None outside of flows."""
    flow = current_flow()
    return None if flow is None else str(flow.fn.__code__.co_filename)


def current_task() -> Task[..., Any] | None:
    """Return the task in which this code runs."""
    found: Task[..., Any] | None = getattr(_task_context(), "task", None)
    return found


def current_task_runner() -> TaskRunner[Any] | None:
    """Return the task runner of the flow in which this code runs."""
    found: TaskRunner[Any] | None = getattr(_flow_context(), "task_runner", None)
    return found


def current_api_url() -> str:
    """Return the URL of the server that has the current flow run."""
    from prefect.settings import PREFECT_API_URL

    client = getattr(_flow_context(), "client", None)
    return str(getattr(client, "api_url", None) or PREFECT_API_URL.value() or "")


def is_flow_run_named() -> bool:
    """Return whether the environment names a flow run: of a deployment, in its own process."""
    return FLOW_RUN_VARIABLE in os.environ


@contextmanager
def in_other_flow(flow: Flow[..., Any]) -> Iterator[None]:
    """Let the current flow run be one of another flow, without parameters."""
    context = _flow_context()
    if context is None:
        yield
        return
    with context.model_copy(update={"flow": flow, "parameters": {}}):
        yield


@contextmanager
def in_runs(
    flow: Flow[..., Any],
    flow_run: FlowRun,
    task: Task[..., Any],
    task_run: TaskRun,
    task_runner: TaskRunner[Any],
) -> Iterator[None]:
    """Be in a flow run and a task run that another process executes."""
    from prefect.client.orchestration import get_client
    from prefect.logging import get_logger

    try:
        from prefect.context import FlowRunContext, TaskRunContext
        from prefect.results import get_result_store

        shared: dict[str, Any] = {
            "client": get_client(sync_client=True),
            "result_store": get_result_store(),
        }
        of_flow = FlowRunContext(
            flow=flow,
            flow_run=flow_run,
            task_runner=task_runner,
            parameters=flow_run.parameters,
            detached=True,
            **shared,
        )
        of_task = TaskRunContext(task=task, task_run=task_run, parameters={}, **shared)
    except (
        *_NOT_IN_PREFECT,
        TypeError,
        ValueError,
    ) as error:  # a field is missing, or is a new one
        get_logger().warning("steps run outside of their task run: %s", error)
        yield
        return
    with of_flow, of_task:
        yield


# Heartbeats


@contextmanager
def own_heartbeats_off() -> Iterator[int | None]:
    """Keep Prefect from starting its thread; yield the seconds between heartbeats, if any."""
    try:
        from prefect.context import SettingsContext, get_settings_context

        context = get_settings_context()
        flows = context.settings.flows
        seconds: int | None = flows.heartbeat_frequency
        # Not by `temporary_settings`, which reads and checks all settings again: that takes longer
        # than the flow run needs to begin.
        silent = flows.model_copy(update={"heartbeat_frequency": None})
        settings = context.settings.model_copy(update={"flows": silent})
        silenced = SettingsContext(profile=context.profile, settings=settings)
    except _NOT_IN_PREFECT:
        yield None
        return
    with silenced:
        yield seconds


def send_heartbeat(flow_run: FlowRun) -> None:
    """Emit the event that says that a flow run goes on."""
    from prefect.events import emit_event

    emit_event(
        "prefect.flow-run.heartbeat",
        resource={
            "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
            "prefect.resource.name": flow_run.name,
        },
    )


# The server


def answers(client: SyncPrefectClient) -> Exception | None:
    """Ask the server whether it is there; return why it does not seem so, or None."""
    check = getattr(client, "api_healthcheck", None)
    if check is not None:
        trouble: Exception | None = check()
        return trouble
    try:
        client.hello()
    except Exception as error:
        return error
    return None


def client_retries() -> int:
    """Return how often Prefect's client repeats a request."""
    with suppress(*_NOT_IN_PREFECT):
        from prefect.settings import get_current_settings

        return get_current_settings().client.max_retries
    return 0


@contextmanager
def without_retries() -> Iterator[None]:
    """Let Prefect's client make each request once."""
    with ExitStack() as stack:
        with suppress(*_NOT_IN_PREFECT):
            from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

            stack.enter_context(temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}))
        yield


def forget_events() -> None:
    """Let Prefect's worker drop the events that it has, and end; later ones get another worker."""
    with suppress(*_NOT_IN_PREFECT):
        from prefect.events.clients import NullEventsClient
        from prefect.events.worker import EventsWorker

        class Nobody(NullEventsClient):
            async def emit(self, event: Event) -> None:
                pass

        worker = EventsWorker.instance()
        worker._client = Nobody()
        worker.drain()


class TemporaryServer:
    """The server that Prefect starts if no other one is configured, and there is only one."""

    def __init__(self) -> None:
        self._server: Any = None
        with suppress(*_NOT_IN_PREFECT):
            from prefect.server.api.server import SubprocessASGIServer

            self._server = SubprocessASGIServer()

    def is_needed(self) -> bool:
        """Return whether it is not running yet, and can be started here."""
        return self._server is not None and not getattr(self._server, "running", True)

    def start(self, seconds: float) -> None:
        """Start it, and wait so long at most."""
        self._server.start(timeout=seconds)


# Artifacts, links, blocks


def create_progress(
    client: SyncPrefectClient, flow_run_id: UUID, key: str, percent: float, text: str
) -> UUID:
    """Create a progress artifact of a flow run, and return its id.

    Raises:
        ImportError: This release of Prefect has another way.
    """
    from prefect.client.schemas.actions import ArtifactCreate

    new = ArtifactCreate(
        key=key, type="progress", description=text, data=percent, flow_run_id=flow_run_id
    )
    return client.create_artifact(new).id


def update_progress(
    client: SyncPrefectClient, artifact: UUID, percent: float, text: str | None
) -> None:
    """Update a progress artifact; its text stays if there is no other.

    Raises:
        ImportError: This release of Prefect has another way.
    """
    from prefect.client.schemas.actions import ArtifactUpdate

    changed: dict[str, Any] = {"data": percent}
    if text is not None:
        changed["description"] = text
    client.update_artifact(artifact, ArtifactUpdate(**changed))


def url_of_page(kind: str, run_id: str) -> str | None:
    """Return the URL of a run's page in the UI."""
    with suppress(*_NOT_IN_PREFECT):
        from prefect.utilities.urls import url_for

        return url_for(kind, obj_id=run_id)
    return None


def rendered_url(block: Any) -> Any:
    """Return the SQLAlchemy URL of a block of prefect-sqlalchemy; both kinds have one."""
    return getattr(block, "_rendered_url", None) or getattr(block, "rendered_url", None)


# Task runners, ends of runs, logs


def thread_count(runner: TaskRunner[Any]) -> int | None:
    """Return how many threads a `ThreadPoolTaskRunner` has, if that is known."""
    found: int | None = getattr(runner, "_max_workers", None)
    return found


def with_state(signal: T, state: State[Any]) -> T:
    """Return an `Abort` that ends the current flow run in a state that the server knows."""
    signal.state = state  # type: ignore[attr-defined]
    return signal


def write_as_text(handler: logging.Handler) -> None:
    """Let a handler write text in a notebook, if it is Prefect's, which would write HTML."""
    with suppress(*_NOT_IN_PREFECT):
        from prefect.logging.handlers import PrefectConsoleHandler

        if isinstance(handler, PrefectConsoleHandler):
            handler.console.is_jupyter = False
