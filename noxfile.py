"""Environments in which the package must work, for `make matrix` and `make matrix-quick`."""

import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False

TESTS = ("hypothesis", "packaging", "pytest")
TESTED = dict(re.findall(r"^([\w-]+)==(\S+)$", Path("constraints.txt").read_text(), re.M))
BASE = {name: TESTED[name] for name in ("prefect", "SQLAlchemy", "pandas", "numpy", "pyarrow")}
OLD_SERVER = {"fastapi": "0.136.3"}
"""With a later one no server before Prefect 3.7.5 answers, which metadata cannot say."""
(_DEPENDENCIES,) = re.findall(
    r"^dependencies = \[(.*?)^\]", Path("pyproject.toml").read_text(), re.S | re.M
)
LOWEST = dict(re.findall(r'"([\w-]+)>=([\d.]+)', _DEPENDENCIES)) | OLD_SERVER
CORNERS = [
    *({"prefect": version} for version in ("3.4.25", "3.5.0", "3.6.29", "3.7.8", "3.8.8", "3.9.1")),
    {"prefect": "3.9.1", "SQLAlchemy": "2.1.9"},
    {"pandas": "2.2.3"},
    {"pandas": "2.3.3"},
    {"numpy": "2.2.6"},
    {"pandas": "2.2.3", "numpy": "1.26.4"},
    {"pyarrow": "15.0.2", "numpy": "1.26.4", "pandas": "2.2.3"},
    {"pyarrow": "18.1.0"},
]
"""One factor at a time, or what goes with it, beside the versions that are tested otherwise."""


def _cell(session: nox.Session, pins: dict[str, str], *stages: str) -> None:
    session.install(".", *TESTS, *(f"{name}=={version}" for name, version in pins.items()))
    session.run("python", "-m", "tests.matrix", *(session.posargs or stages))


def _name(pins: dict[str, str]) -> str:
    return " ".join("-".join(pair).lower() for pair in pins.items())


@nox.session(python="3.11", tags=["quick"])
@nox.parametrize("pins", [LOWEST, {}], ids=["lowest", "newest"])
def quick(session: nox.Session, pins: dict[str, str]) -> None:
    """README's program without a server, values of other stacks, a part of SQLite's contract."""
    _cell(session, pins, "script", "quick")


@nox.session(python="3.11", tags=["matrix"])
@nox.parametrize(
    "pins", [LOWEST, TESTED, {}, *CORNERS], ids=["lowest", "tested", "newest", *map(_name, CORNERS)]
)
def libraries(session: nox.Session, pins: dict[str, str]) -> None:
    """All stages, with other versions of the libraries."""
    if pins is TESTED:
        session.install(".", *TESTS, "--constraint", "constraints.txt")
        session.run("python", "-m", "tests.matrix", *session.posargs)
    else:
        _cell(session, pins if pins in (LOWEST, {}) else BASE | pins)


@nox.session(python=["3.12", "3.13", "3.14"], tags=["matrix"])
def pythons(session: nox.Session) -> None:
    """All stages, with other versions of Python and the newest libraries."""
    _cell(session, {})


@nox.session(python="3.11", tags=["matrix"])
@nox.parametrize(
    "package",
    [
        *("mlflow", "optuna", "scikit-learn", "torch", "jupyterlab", "streamlit"),
        *("prefect-dbt", "prefect-sqlalchemy"),
    ],
)
def beside(session: nox.Session, package: str) -> None:
    """Whether there are versions with which both can be installed, and which."""
    session.install("uv")
    wanted = Path(session.create_tmp(), "requirements.in")
    wanted.write_text(f"mltraq_prefect @ {Path.cwd().as_uri()}\n{package}\n")
    session.run("uv", "pip", "compile", "--quiet", str(wanted))
