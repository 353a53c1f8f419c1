"""What Prefect does not promise is used in one module, and nothing depends on its being there."""

import ast
import importlib
import re
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient

import mltraq_prefect
from mltraq_prefect.orchestration import prefect_compat as compat
from mltraq_prefect.orchestration import prefect_engine as engine
from tests.steps import square

PACKAGE = Path(mltraq_prefect.__file__).parent
COMPATS = [PACKAGE / "orchestration" / f"prefect_{name}.py" for name in ("compat", "engine")]

KNOWING = {compat.__name__, engine.__name__}

DOCUMENTED = {
    "prefect": "Flow Task allow_failure runtime tags",
    "prefect.artifacts": "create_link_artifact create_markdown_artifact",
    "prefect.blocks.core": "Block",
    "prefect.blocks.system": "Secret",
    "prefect.cache_policies": "NO_CACHE",
    "prefect.client.orchestration": "SyncPrefectClient get_client",
    "prefect.client.schemas.objects": "FlowRun State TaskRun",
    "prefect.events": "Event emit_event",
    "prefect.exceptions": "Abort CancelledRun PrefectException",
    "prefect.futures": "PrefectFuture",
    "prefect.logging": "get_logger get_run_logger",
    "prefect.settings": (
        "PREFECT_API_URL PREFECT_CLIENT_MAX_RETRIES PREFECT_HOME PREFECT_UI_URL"
        " get_current_settings"
        " PREFECT_SERVER_ALLOW_EPHEMERAL_MODE PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
    ),
    "prefect.states": "Cancelled Completed Failed Pending",
    "prefect.task_runners": "TaskRunner ThreadPoolTaskRunner",
}
"""Names of modules that Prefect's guides and settings show."""

LABELS = ("prefect.resource.id", "prefect.resource.name", "prefect.toml")
"""Keys of events and names of files, which the guides show."""

TEXT = re.compile(r"prefect\.[\w.-]+|PREFECT__\w+")
"""Names of loggers, events and variables."""

OWN = {"self", "cls", "super"}


def is_documented(module, name):
    return name in DOCUMENTED.get(module, "").split()


def imports(tree):
    """Yield module and name of each import of Prefect's; no name for a module as a whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "prefect":
                    yield alias.name, ""
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "prefect":
            yield from ((node.module, alias.name) for alias in node.names)


def undocumented(source):
    """Return what of Prefect's in a module is not documented: imports, attributes, texts."""
    tree = ast.parse(source)
    found = [
        f"{module}.{name}" for module, name in imports(tree) if not is_documented(module, name)
    ]
    attributes = {name.rpartition(".")[2] for name in compat.UNDOCUMENTED if "." in name}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in attributes - {"state"}:
            found.append(node.attr)
        elif isinstance(node, ast.Constant) and TEXT.fullmatch(str(node.value)):
            found += [node.value] if node.value not in LABELS else []
    return found


def private(source):
    """Return attributes with an underscore of anything but one's own objects."""
    return [
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and re.match(r"_(?!_)", node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in OWN)
    ]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_other_modules_use_what_is_documented(path):
    source = path.read_text()
    if path not in COMPATS:
        assert undocumented(source) == []
        assert path.parent != COMPATS[0].parent or private(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import prefect.server",
        "from prefect.context import SettingsContext",
        "from prefect.events.worker import EventsWorker",
        "seconds = settings.flows.heartbeat_frequency",
        "client.api_healthcheck()",
        'logger = getLogger("prefect.task_runs")',
        'os.environ["PREFECT__FLOW_RUN_ID"]',
    ],
)
def test_a_name_that_is_not_documented_is_found(source):
    assert len(undocumented(source)) == 1


def test_a_private_attribute_is_found():
    assert private("runner._max_workers") == ["_max_workers"]
    assert private("self._workers") == []


def test_the_table_has_each_name_and_no_other():
    used = {
        f"{module}.{name}"
        for path in COMPATS
        for module, name in imports(ast.parse(path.read_text()))
        if not is_documented(module, name)
    }
    assert used == {name for name in compat.UNDOCUMENTED if name.startswith("prefect.")}


def test_this_release_of_prefect_has_each_name():
    for path in compat.UNDOCUMENTED:
        module, _, name = path.rpartition(".")
        if module.startswith("prefect."):
            assert hasattr(importlib.import_module(module), name), path
    assert hasattr(SyncPrefectClient, "api_healthcheck")


@contextmanager
def without(paths):
    """Let the compatibility modules, and nobody else, find that names of Prefect's are gone."""
    hidden = {}
    for path in paths:
        module, _, name = path.rpartition(".")
        hidden.setdefault(module, set()).add(name)
    modules = {name: importlib.import_module(name) for name in hidden}
    for name, module in modules.items():
        module.__class__ = _hiding(hidden[name])
    try:
        yield
    finally:
        for module in modules.values():
            module.__class__ = types.ModuleType


def _hiding(names):
    class Hiding(types.ModuleType):
        def __getattribute__(self, name):
            if name in names and sys._getframe(1).f_globals["__name__"] in KNOWING:
                raise AttributeError(name)
            return super().__getattribute__(name)

    return Hiding


def squares(session, name):
    experiment = session.add_experiment(name)
    experiment.add_runs(x=[1, 2, 3])
    experiment.execute(steps=square, n_jobs=1)
    experiment.persist()
    return sorted(session.query(f"SELECT square FROM e_{name}").square)


GONE = [name for name in compat.UNDOCUMENTED if name.startswith("prefect.")]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    "gone",
    [[name for name in GONE if not name.endswith("RunContext")], GONE],
    ids=["all but the contexts of runs", "all"],
)
def test_experiments_are_executed_without_them(session, gone):
    with without(gone):
        assert squares(session, "script") == [1, 4, 9]
        assert flow(squares)(session, "flow") == [1, 4, 9]


@pytest.mark.usefixtures("prefect_server")
def test_a_server_is_asked_in_another_way(session, monkeypatch):
    monkeypatch.delattr(SyncPrefectClient, "api_healthcheck")
    assert squares(session, "script") == [1, 4, 9]
