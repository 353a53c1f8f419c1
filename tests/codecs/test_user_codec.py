"""Codecs that users register: values come back, and what is wrong with a codec is said."""

import importlib
import sys

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect import codecs
from mltraq_prefect.cli import main
from mltraq_prefect.codecs import installed, registry, user_codec
from tests import ways


class Mesh:
    def __init__(self, points, parts=()):
        self.points, self.parts = points, parts

    def __eq__(self, other):
        return np.array_equal(self.points, other.points) and self.parts == other.parts

    __hash__ = None


@pytest.fixture(autouse=True)
def codecs_of_before(monkeypatch):
    """Codecs that a test registers are forgotten."""
    monkeypatch.setattr(user_codec, "USER_CODECS", known := user_codec.USER_CODECS.copy())
    encoders = registry.ENCODERS.copy()
    yield known
    registry.ENCODERS.clear()
    registry.ENCODERS.update(encoders)


def encoded(mesh):
    return {"points": mesh.points, "parts": mesh.parts}


def decoded(tree):
    return Mesh(**tree)


@pytest.fixture
def mesh():
    mltraq.register_codec(Mesh, "mesh", encoded, decoded)
    return Mesh(np.arange(3.0), (Mesh(np.zeros(2)), "part"))


def test_values_come_back_wherever_they_are(session, mesh):
    many = [Mesh(np.arange(size)) for size in range(40)]
    experiment = session.add_experiment("x", shape=mesh).add_runs(mesh=[mesh, Mesh(np.ones(1))])
    experiment.runs.first().fields.tree = {"a": (mesh, 1), "many": many}
    experiment.persist()
    loaded = session.load("x")
    assert loaded.fields.shape == mesh
    assert list(loaded.runs) == list(experiment.runs)
    run = loaded.runs.first()
    assert run.params.mesh == mesh
    assert run.fields.tree == {"a": (mesh, 1), "many": many}


@ways.plainly
def test_workers_have_the_codecs_of_the_program(session):
    """Also those of a class that no module has, such as one of a script or notebook."""

    class Local(Mesh):
        pass

    mltraq.register_codec(Local, "local", encoded, lambda tree: Local(**tree))

    def track(run):
        run.fields.mesh = Local(np.arange(run.params.x), run.kwargs.mesh.parts)

    experiment = session.add_experiment("x").add_runs(x=[1, 2])
    experiment.execute(track, {"mesh": Local(np.ones(1), ["a"])}, checkpoint=True)
    loaded = session.load("x")
    assert [run.fields.mesh for run in loaded.runs.values()] == [
        Local(np.arange(1), ["a"]),
        Local(np.arange(2), ["a"]),
    ]
    (made,) = map(loaded.execution, loaded.executions.index)
    assert made.kwargs["mesh"] == Local(np.ones(1), ["a"])


def test_what_is_not_registered_is_named_and_the_rest_can_be_read(session, mesh, codecs_of_before):
    experiment = session.add_experiment("x").add_runs(x=[1])
    experiment.runs.first().fields.update(mesh=mesh, n=1)
    experiment.persist()
    del codecs_of_before["mesh"]
    assert session.frame("x", ["n"])["n"].tolist() == [1]
    with pytest.raises(mltraq.UnavailableType, match=r"'x'.*'mesh'.*not registered"):
        session.frame("x", ["mesh"])


def test_a_codec_that_fails_writes_nothing(session):
    mltraq.register_codec(Mesh, "mesh", lambda mesh: 1 // mesh.points, decoded)
    experiment = session.add_experiment("x").add_runs(x=[1])
    experiment.runs.first().fields.mesh = Mesh(0)
    with pytest.raises(mltraq.UnsupportedType, match="codec 'mesh' raised ZeroDivisionError: int"):
        experiment.persist()
    experiment.runs.first().fields.mesh = [Mesh(1)]
    mltraq.register_codec(Mesh, "mesh", encoded, decoded)
    experiment.runs.first().fields.mesh = [Mesh(1, object())]
    said = r"fields.mesh\[0\] \(by codec 'mesh'\)\['parts'\] is of type object"
    with pytest.raises(mltraq.UnsupportedType, match=said):
        experiment.persist()
    assert session.ls().empty


@pytest.mark.parametrize(
    ("decode", "said"),
    [
        (lambda tree: tree["none"], "raised KeyError$"),
        (lambda tree: tree, "has made a dict, no .*Mesh"),
    ],
)
def test_what_a_codec_does_not_read_is_corrupt(mesh, decode, said):
    data = codecs.encode(mesh)
    mltraq.register_codec(Mesh, "mesh", encoded, decode)
    with pytest.raises(mltraq.CorruptData, match=said):
        codecs.decode(data)


def test_what_holds_itself_is_refused(mesh):
    mesh.parts = [mesh]
    with pytest.raises(mltraq.UnsupportedType, match="it contains itself"):
        codecs.encode(mesh)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((3, "mesh", encoded, decoded), "kind is 3"),
        ((Mesh, "", encoded, decoded), "name is ''"),
        ((Mesh, "a\nb", encoded, decoded), "name is"),
        ((Mesh, 5, encoded, decoded), "name is 5"),
        ((Mesh, "m", None, decoded), "encode is None"),
        ((Mesh, "m", encoded, {}), "decode is {}"),
        ((np.ndarray, "m", encoded, decoded), "numpy.ndarray are stored as they are"),
        ((int, "m", encoded, decoded), "values of int are"),
        ((Exception, "mesh", encoded, decoded), "is the name of the codec of .*Mesh"),
    ],
)
def test_what_is_no_codec_is_refused(mesh, arguments, said):
    with pytest.raises(mltraq.InvalidInput, match=f"register_codec: .*{said}"):
        mltraq.register_codec(*arguments)
    assert codecs.decode(codecs.encode(mesh)) == mesh


SPAN = """
class Span:
    def __init__(self, low, high):
        self.low, self.high = low, high

    def __repr__(self):
        return f"{self.low} to {self.high}"
"""
CODEC_OF_SPAN = """
from mltraq_prefect import register_codec
from spans import Span

register_codec(Span, "span", lambda span: [span.low, span.high], lambda pair: Span(*pair))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package as pip does: modules, and beside them what its metadata say."""

    def forget():
        user_codec.USER_CODECS.clear()
        installed.import_installed.cache_clear()
        for name in ("spans", "spans_codecs"):
            sys.modules.pop(name, None)

    def install(entry_point, **modules):
        metadata = tmp_path / "spans-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: spans\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[mltraq_prefect.codecs]\n{entry_point}\n")
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        forget()
        return forget

    yield install
    forget()


def test_codecs_of_installed_packages_are_imported_when_they_are_needed(url, package, capsys):
    """By who writes as by who reads, also by the command line, though nobody imports them."""
    forget = package("spans = spans_codecs", spans=SPAN, spans_codecs=CODEC_OF_SPAN)
    span = importlib.import_module("spans").Span
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("x").add_runs(n=[1])
        experiment.runs.first().fields.span = span(0, 2.5)
        experiment.persist()
    forget()
    assert main(["--database", url, "frame", "x", "--column", "span", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["span", "0 to 2.5"]


def test_a_codec_of_an_installed_package_that_cannot_be_imported_is_named(package, mesh):
    data = codecs.encode(mesh)
    package("spans = no_such_module")
    said = "'no_such_module' of spans raised ModuleNotFoundError: No module"
    with pytest.raises(mltraq.UnsupportedType, match=said):
        codecs.encode(object())
    with pytest.raises(mltraq.UnavailableType, match=f"'mesh'.*entry points.*{said}"):
        codecs.decode(data)
