"""One user of the database a colleague: who owns, who writes, who reads, each no more than that."""

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.cli import main
from mltraq_prefect.ui.pages.experiment import TITLES
from tests import servers
from tests.contract.test_ownership import change
from tests.ui.test_results_pages import client_of, page_of

REFUSED = {"reader": "grant writer --to USER", "writer": "or grant owner"}


@dataclass
class Lab:
    """A database with users.

    Attributes:
        administrator: The URL of who administers the server.
        owner: The URL of who owns the tables, and nothing else.
        join: Makes a user, who may connect; returns the name by which it is granted, and the URL.
    """

    administrator: str
    owner: str
    join: Callable[[], tuple[str, str]]


@contextlib.contextmanager
def postgresql():
    with servers.postgresql_database() as url:
        schema = sa.make_url(url).query["options"].removeprefix("-csearch_path=")
        made = []

        def join():
            made.append(f'r {uuid.uuid4().hex[:12]} "q"')
            change(url, f"CREATE ROLE {quoted(made[-1])} LOGIN")
            return made[-1], as_user(url, made[-1])

        owner, owner_url = join()
        change(url, f"ALTER SCHEMA {schema} OWNER TO {quoted(owner)}")
        yield Lab(url, owner_url, join)
        change(url, f"REASSIGN OWNED BY {quoted(owner)} TO CURRENT_USER")
        for role in map(quoted, reversed(made)):
            change(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@contextlib.contextmanager
def mariadb():
    with servers.mariadb_database() as url:
        made = []

        def join():
            name = f"r{uuid.uuid4().hex[:12]}"
            made.append(f"'{name}'@'localhost'")
            change(url, f"CREATE USER {made[-1]} IDENTIFIED BY '{name}'")
            there = sa.make_url(url).set(username=name, password=name)
            return f"{name}@localhost", there.render_as_string(hide_password=False)

        yield Lab(url, url, join)
        change(url, f"DROP USER {', '.join(made)}")


def quoted(role):
    return '"' + role.replace('"', '""') + '"'


def as_user(url, name):
    return sa.make_url(url).set(username=name).render_as_string(hide_password=False)


@pytest.fixture(params=[postgresql, mariadb], ids=["postgresql", "mariadb"])
def lab(request):
    with request.param() as made:
        yield made


def define(session, name, n=3, **fields):
    experiment = session.add_experiment(name).add_runs(i=range(n))
    for run in experiment.runs.values():
        run.fields |= {"x": (run.params.i, {1.5}), **fields}
    return experiment


def log_square(run):
    for step in range(3):
        run.log(square=run.params.i**2, step=step)


def joined(lab, role, by):
    """Return the URL of a colleague with a role, given on the command line."""
    name, url = lab.join()
    with pytest.raises(mltraq.MltraqError), mltraq.create_session(url) as session:
        session.ls()
    assert main(["grant", role, "--to", name, "--database", by]) == 0
    return url


def assert_reads(url, name, n, folder):
    """Whatever reads does, and the values are exact."""
    with mltraq.create_session(url) as session:
        assert name in session.ls()["name"].tolist()
        loaded = session.load(name)
        assert [run.fields.x for run in loaded.runs.values()] == [(i, {1.5}) for i in range(n)]
        assert session.frame(name)["i"].tolist() == list(range(n))
        assert session.load(name, where="i > 0").query("SELECT count(*) AS n FROM {experiment}")[
            "n"
        ].tolist() == [n]
        assert len(session.verify(name)) == 0
        loaded.report(folder / f"{name}.html")


def assert_shows(url, table, id_run):
    """Who only reads has all pages."""
    with client_of(url) as client:
        assert table.removeprefix("e_") in page_of(client, "/").text
        for section in TITLES:
            assert "4 runs" in page_of(client, f"/experiments/{table}/{section}").text
        assert "square" in page_of(client, f"/experiments/{table}/curves").text
        assert "completed" in page_of(client, f"/experiments/{table}/run/{id_run}").text
        assert page_of(client, f"/compare?e={table}")


def test_a_reader_reads_what_is_there_and_what_comes_later(lab, tmp_path):
    with mltraq.create_session(lab.owner) as session:
        define(session, "before").persist()
        reader = joined(lab, "reader", lab.owner)
        later = define(session, "later", n=4).persist()
        later.execute(log_square, backend="local").persist("merge")
    assert_reads(reader, "before", 3, tmp_path)
    assert_reads(reader, "later", 4, tmp_path)
    assert_shows(reader, "e_later", next(iter(later.runs)))
    with mltraq.create_session(reader) as session:
        runs = session.load("later").runs.values()
        assert [run.series["square"].tolist() for run in runs] == [[i**2] * 3 for i in range(4)]
        for name in ("before", "new"):
            with pytest.raises(mltraq.errors.ReadOnlyStore, match=REFUSED["reader"]):
                define(session, name, y=1).persist("merge")
        executed = []
        with pytest.raises(mltraq.errors.ReadOnlyStore, match=REFUSED["reader"]):
            session.load("before").execute(executed.append, checkpoint=True, backend="local")
        assert executed == []
    assert_reads(lab.owner, "before", 3, tmp_path)


def test_a_writer_adds_and_changes_runs_of_what_there_is(lab, tmp_path):
    with mltraq.create_session(lab.owner) as session:
        define(session, "shared", y=0).persist()
    writer = joined(lab, "writer", lab.owner)
    with mltraq.create_session(writer) as session:
        define(session, "shared", n=100, y=1).persist("merge")
        for y in (2, 3):
            define(session, "shared", n=100, y=y).persist("merge")
            assert session.frame("shared")["y"].tolist() == [y] * 100
        session.load("shared").delete_runs("i >= 50")
        for name, fields in (("shared", {"y": 4, "z": 1}), ("new", {})):
            with pytest.raises(mltraq.errors.ReadOnlyStore, match=REFUSED["writer"]):
                define(session, name, **fields).persist("merge")
        assert session.frame("shared")["y"].tolist() == [3] * 50
    assert_reads(writer, "shared", 50, tmp_path)
    assert_reads(lab.owner, "shared", 50, tmp_path)


def test_an_owner_does_all_as_who_owns_the_tables(lab, tmp_path):
    with mltraq.create_session(lab.owner) as session:
        define(session, "shared").persist()
        reader = joined(lab, "reader", lab.owner)
        with mltraq.create_session(joined(lab, "owner", lab.administrator)) as other:
            define(other, "shared", z=1).persist("merge")
            define(other, "mine", n=2).persist()
            other.load("mine").rename("theirs")
        assert_reads(reader, "theirs", 2, tmp_path)
        define(session, "theirs", n=5, z=1).persist("merge")
        assert_reads(reader, "theirs", 5, tmp_path)
        session.load("theirs").delete()
        assert session.frame("shared")["z"].tolist() == [1] * 3


def test_statements_are_shown_and_not_executed(lab, capsys):
    with mltraq.create_session(lab.owner) as session:
        define(session, "a").persist()
    name, url = lab.join()
    assert main(["grant", "reader", "--to", name, "--only-show", "--database", lab.owner]) == 0
    assert capsys.readouterr().out.startswith("GRANT ")
    with pytest.raises(mltraq.MltraqError), mltraq.create_session(url) as session:
        session.ls()


def test_a_user_who_is_misspelt_is_not_made(lab, capsys):
    with mltraq.create_session(lab.owner) as session:
        define(session, "a").persist()
    name = f"x{lab.join()[0]}"
    assert main(["grant", "owner", "--to", name, "--database", lab.administrator]) == 1
    assert "refused: " in capsys.readouterr().err
    nobody = sa.make_url(lab.owner).set(username=name.partition("@")[0], password=None)
    url = nobody.render_as_string(hide_password=False)
    with pytest.raises(mltraq.MltraqError), mltraq.create_session(url) as session:
        session.ls()


def test_who_owns_the_tables_or_would_become_a_superuser_is_refused(capsys):
    with postgresql() as lab:
        with mltraq.create_session(lab.administrator) as session:
            define(session, "a").persist()
        name, _ = lab.join()
        for user, why in ((name, "a superuser"), ("postgres", "belong to postgres already")):
            assert main(["grant", "owner", "--to", user, "--database", lab.administrator]) == 1
            assert why in capsys.readouterr().err


def test_a_file_has_no_users(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/a.db"
    with mltraq.create_session(url) as session:
        define(session, "a").persist()
    assert main(["grant", "reader", "--to", "ada", "--database", url]) == 1
    assert "has no users" in capsys.readouterr().err
