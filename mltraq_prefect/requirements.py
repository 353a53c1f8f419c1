"""Which versions of other libraries the package works with, said in one sentence at first use.

Installers see to it, but not always: other packages, or `pip install` without dependencies, may
have put others in their place. Nothing is imported for the check.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from types import MappingProxyType

from mltraq_prefect.errors import UnsupportedVersion

SUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "prefect": ">=3.4,<4",
        "numpy": ">=1.26,!=2.0.*",
        "pandas": ">=2.2",
        "pyarrow": ">=15",
        "sqlalchemy": ">=2.0.40",
        "psycopg": ">=3.2",
        "pymysql": ">=1.1",
    }
)
"""As the metadata of this package has it."""

_SERVERS_NEED = {
    "sqlalchemy": ("<2.1", "schedules no flow runs of deployments"),
    "fastapi": ("<0.151", "does not start, or refuses deployments"),
}
"""What Prefect's server needs before `_CURED`, though its own metadata does not say so."""

_CURED = ">=3.9"

_CLAUSE = re.compile(r"(>=|<|!=)([\d.]+?)(\.\*)?")
_RELEASE = re.compile(r"\d+(\.\d+)*")


def installed(library: str) -> str | None:
    """Return the installed version of a library, or None."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def check_installed(library: str) -> None:
    """Refuse a library of a version that is not supported.

    Raises:
        UnsupportedVersion: It is one, or there is no such library.
    """
    found, supported = installed(library), SUPPORTED[library]
    if found is None and importlib.util.find_spec(library) is not None:
        return  # it has come in another way, without metadata
    if found is None or not matches(found, supported):
        raise UnsupportedVersion(library, found, supported)


def troubles_of_server() -> list[str]:
    """Return a sentence for each library with which a Prefect server does not work here."""
    prefect = installed("prefect")
    if prefect is None or matches(prefect, _CURED):
        return []
    found = []
    for library, (needed, what) in _SERVERS_NEED.items():
        version = installed(library)
        if version is not None and not matches(version, needed):
            found.append(
                f"A server of Prefect {prefect} {what} with {library} {version}; run: "
                f'python -m pip install "{library}{needed}"'
            )
    return found


def matches(version: str, specifier: str) -> bool:
    """Return whether a version, such as ``2.0.1``, is one of those of ``>=1.26,!=2.0.*``."""
    release = _release(version)
    return all(_holds(release, clause) for clause in specifier.split(","))


def _holds(release: tuple[int, ...], clause: str) -> bool:
    found = _CLAUSE.fullmatch(clause)
    if found is None:
        raise ValueError(f"{clause!r} is no clause of a specifier")
    operator, bound = found[1], _release(found[2])
    if operator == "!=":
        return release[: len(bound)] != bound
    width = max(len(release), len(bound))
    left, right = (part + (0,) * (width - len(part)) for part in (release, bound))
    return left >= right if operator == ">=" else left < right


def _release(version: str) -> tuple[int, ...]:
    found = _RELEASE.match(version)
    return tuple(map(int, found[0].split("."))) if found is not None else ()
