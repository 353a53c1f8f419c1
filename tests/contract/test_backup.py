"""Databases are backed up and restored as the documentation says, by the tools of each."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from tests import servers

PAGE = Path(__file__).parent.parent.parent / "docs" / "operating.md"


def commands(kind):
    (block,) = re.findall(rf"<!-- {kind} -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return block


def score(run):
    run.log(loss=run.params.lr)
    run.fields.score = (run.params.lr, {1, 2})


def of_postgresql(source, target):
    """Variables of the commands; the target is another database, which is empty."""
    programs = servers.postgresql_of_system() or servers.postgresql_of_wheel()
    url = sa.make_url(source)
    plain = {
        name: sa.make_url(one).set(drivername="postgresql", query={})
        for name, one in (("SOURCE", source), ("TARGET", target))
    }
    return {
        **{name: one.render_as_string(hide_password=False) for name, one in plain.items()},
        "SCHEMA": url.query["options"].removeprefix("-csearch_path="),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }


def of_mariadb(source, target):
    if shutil.which("mariadb-dump") is None:
        servers.absent("mariadb-dump")
    url = sa.make_url(source)
    password = f" --password={url.password}" if url.password else ""
    return {
        "SERVER": f"--host={url.host} --port={url.port} --user={url.username}{password}",
        "SOURCE": url.database,
        "TARGET": sa.make_url(target).database,
    }


WAYS = {
    "postgresql": (
        servers.postgresql_database,
        servers.counted_postgresql_database,
        of_postgresql,
    ),
    "mariadb": (servers.mariadb_database, servers.mariadb_database, of_mariadb),
}


@pytest.mark.parametrize("kind", WAYS)
def test_what_is_restored_is_what_was_backed_up(kind, tmp_path):
    make, make_other, variables = WAYS[kind]
    with make() as source, make_other() as target:
        with mltraq.create_session(source) as session:
            experiment = session.add_experiment("scores").add_runs(lr=[0.1, 0.2, 0.3])
            experiment.execute(score, backend="local").persist()
            view = session.query("SELECT * FROM v_scores")
        environment = os.environ | variables(source, target)
        subprocess.run(
            ["bash", "-ec", commands(kind)],
            env=environment,
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        if "SCHEMA" in environment:
            options = {"options": f"-csearch_path={environment['SCHEMA']}"}
            restored = sa.make_url(target).update_query_dict(options)
            target = restored.render_as_string(hide_password=False)
        with mltraq.create_session(target) as session:
            assert len(session.verify()) == 0
            runs = session.load("scores").runs.values()
            assert [run.fields.score for run in runs] == [(lr, {1, 2}) for lr in (0.1, 0.2, 0.3)]
            assert [run.series["loss"].tolist() for run in runs] == [[0.1], [0.2], [0.3]]
            assert session.query("SELECT * FROM v_scores").equals(view)
            session.add_experiment("scores").add_runs(lr=[0.4]).persist("merge")
            progress = session.query("SELECT runs, completed FROM experiment_progress")
            assert progress.values.tolist() == [[4, 3]]
