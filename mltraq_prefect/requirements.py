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
    }
)
"""As the metadata of this package has it; the drivers of databases are with their dialects."""

_BESIDE = {"pyarrow": ("numpy", "<2", "<26")}
"""Where one library has these releases, the other needs those; its metadata names no such limit."""

_SERVERS_NEED = (
    ("<3.9", "sqlalchemy", "<2.1", "schedules no flow runs of deployments"),
    ("<3.9", "fastapi", "<0.151", "does not start, or refuses deployments"),
    ("<3.7.5", "fastapi", "<0.137", "answers no requests"),
)
"""What the servers of some releases of Prefect need, though its metadata does not say so.

Of a library, the need that is stricter is the later one.

The metadata of this package cannot say it either: what one release needs, the next one refuses.
"""

_CLAUSE = re.compile(r"(>=|<|!=)([\d.]+?)(\.\*)?")
_RELEASE = re.compile(r"\d+(\.\d+)*")


def installed(library: str) -> str | None:
    """Return the installed version of a library, or None."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_importable(package: str) -> bool:
    """Return whether there is a package of a name, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # of a finder that hides it, or of a module without a spec
        return False


def with_extra(extra: str) -> str:
    """Return the command that installs what an extra of this package needs."""
    return f'python -m pip install "mltraq_prefect[{extra}]"'


@functools.cache
def check_installed(library: str, supported: str | None = None) -> None:
    """Refuse a library of a version that is not supported.

    Args:
        library: Name of its distribution.
        supported: Specifier of versions; what `SUPPORTED` says if None.

    Raises:
        UnsupportedVersion: It is one, or there is no such library, or it does not work beside
            another that is installed.
    """
    found, supported = installed(library), supported or SUPPORTED[library]
    if found is None and is_importable(library):
        return  # it has come in another way, without metadata
    if found is None or not matches(found, supported):
        raise UnsupportedVersion(library, found, supported)
    _check_beside(library, found, supported)


def _check_beside(library: str, found: str, supported: str) -> None:
    other, releases, needed = _BESIDE.get(library, (None, "", ""))
    beside = installed(other) if other is not None else None
    if beside is not None and matches(beside, releases) and not matches(found, needed):
        raise UnsupportedVersion(library, found, f"{supported},{needed}", f"{other} {beside}")


def troubles_of_server() -> list[str]:
    """Return a sentence for each library with which a Prefect server does not work here."""
    prefect = installed("prefect")
    return [
        f"A server of Prefect {prefect} {what} with {library} {version}; run: "
        f'python -m pip install "{library}{needed}"'
        for library, (version, needed, what) in _refused_by_server().items()
    ]


def check_server() -> None:
    """Refuse to start a server of Prefect that would not answer.

    Raises:
        UnsupportedVersion: The installed FastAPI is none for the installed Prefect.
    """
    if (refused := _refused_by_server().get("fastapi")) is not None:
        found, needed, _ = refused
        raise UnsupportedVersion("fastapi", found, needed)


def _refused_by_server() -> dict[str, tuple[str, str, str]]:
    """Return version, what is needed, and what happens, of libraries that a server cannot use."""
    prefect = installed("prefect")
    found = {}
    for releases, library, needed, what in _SERVERS_NEED:
        version = installed(library)
        if prefect is None or version is None or not matches(prefect, releases):
            continue
        if not matches(version, needed):
            found[library] = version, needed, what
    return found


def matches(version: str, specifier: str) -> bool:
    """Return whether a version, such as ``2.0.1``, is one of those of ``>=1.26,!=2.0.*``."""
    release = _release(version)
    return all(_holds(release, clause) for clause in specifier.split(","))


def _holds(release: tuple[int, ...], clause: str) -> bool:
    found = _CLAUSE.fullmatch(clause)
    if found is None:
        raise ValueError(f"{clause!r} is not a clause of a specifier")
    operator, bound = found[1], _release(found[2])
    if operator == "!=":
        return release[: len(bound)] != bound
    width = max(len(release), len(bound))
    left, right = (part + (0,) * (width - len(part)) for part in (release, bound))
    return left >= right if operator == ">=" else left < right


def _release(version: str) -> tuple[int, ...]:
    found = _RELEASE.match(version)
    return tuple(map(int, found[0].split("."))) if found is not None else ()
