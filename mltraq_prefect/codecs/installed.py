"""Codecs of installed packages, which are imported when a type or a stored value has no codec.

A package names the module that registers them among its entry points, as plugins of other
libraries do: https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

GROUP = "mltraq_prefect.codecs"


@cache
def import_installed() -> str:
    """Import the modules that installed packages name, once in a process.

    Returns:
        What an error about a missing codec adds: which could not be imported, and why.
    """
    troubles = [*filter(None, map(_trouble, entry_points(group=GROUP)))]
    said = "; ".join(troubles)
    return f". Codecs of installed packages could not be imported: {said}" if said else ""


def _trouble(entry: EntryPoint) -> str:
    try:
        entry.load()
    except Exception as error:  # whatever a module of others raises
        package = entry.dist.name if entry.dist is not None else "a package"
        return f"{entry.value!r} of {package} raised {type(error).__name__}: {error}"
    return ""
