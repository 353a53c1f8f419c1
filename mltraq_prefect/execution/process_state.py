"""Process settings that a step may change; they are restored before the next run.

A worker gets the settings of the main program, as a fork of it would. Settings in context
variables, such as those of `numpy.seterr`, only need a new context for each attempt.
"""

from __future__ import annotations

import contextvars
import decimal
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")


class Inherited(NamedTuple):
    """Settings that a worker gets from the main program.

    Attributes:
        arguments: `sys.argv`.
        recursion_limit: `sys.getrecursionlimit()`, in frames.
        filters: `warnings.filters`.
        decimal: `decimal.getcontext()`.
        errors: `numpy.geterr()`.
        scikit_learn: `sklearn.get_config()` if it was changed, else None.
    """

    arguments: list[str]
    recursion_limit: int
    filters: list[Any]
    decimal: decimal.Context
    errors: dict[str, Any]
    scikit_learn: dict[str, Any] | None


def to_inherit() -> Inherited:
    """Return the settings that workers get from this program."""
    config, default = _config_of_scikit_learn()
    return Inherited(
        [*sys.argv],
        sys.getrecursionlimit(),
        [*warnings.filters],
        decimal.getcontext().copy(),
        dict(np.geterr()),
        config if config != default else None,
    )


def inherit(inherited: Inherited) -> None:
    """Apply the settings of the main program in a worker."""
    sys.argv[:] = inherited.arguments
    sys.setrecursionlimit(inherited.recursion_limit)
    _set_filters(inherited.filters)
    decimal.setcontext(inherited.decimal.copy())
    np.seterr(**inherited.errors)
    if inherited.scikit_learn is not None:
        importlib.import_module("sklearn").set_config(**inherited.scikit_learn)


class ProcessState:
    """The settings of this process at the time of construction."""

    def __init__(self) -> None:
        self._directory = _directory()
        self._environment = _environment().copy()
        self._arguments = [*sys.argv]
        self._recursion_limit = sys.getrecursionlimit()
        self._filters = [*warnings.filters]
        self._scikit_learn, _ = _config_of_scikit_learn()

    def restore(self) -> None:
        """Restore the settings that have changed."""
        if self._directory is not None and _directory() != self._directory:
            with suppress(OSError):  # a step has deleted it
                os.chdir(self._directory)
        if _environment() != self._environment:
            _set_environment(self._environment)
        if sys.argv != self._arguments:
            sys.argv[:] = self._arguments
        if sys.getrecursionlimit() != self._recursion_limit:
            sys.setrecursionlimit(self._recursion_limit)
        if warnings.filters != self._filters:
            _set_filters(self._filters)
        config, default = _config_of_scikit_learn()
        before = self._scikit_learn or default
        if config is not None and before is not None and config != before:
            sys.modules["sklearn"].set_config(**before)


def in_own_context(function: Callable[..., T], *args: Any) -> T:
    """Call a function; its changes of context variables and of the decimal context are undone."""

    def call() -> T:
        decimal.setcontext(decimal.getcontext().copy())
        return function(*args)

    return contextvars.copy_context().run(call)


def _directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return None


def _environment() -> dict[Any, Any]:
    """Return the undecoded variables of `os.environ`: decoding them is slow."""
    data: dict[Any, Any] | None = getattr(os.environ, "_data", None)
    return dict(os.environ) if data is None else data


def _set_environment(variables: dict[Any, Any]) -> None:
    decode = getattr(os.environ, "decodevalue", str)
    wanted = {decode(name): decode(value) for name, value in variables.items()}
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    os.environ.update(wanted)


def _set_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]
    getattr(warnings, "_filters_mutated", lambda: None)()  # forget which were shown


def _config_of_scikit_learn() -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return its settings and their defaults, without importing it."""
    module, config = sys.modules.get("sklearn"), sys.modules.get("sklearn._config")
    get, default = getattr(module, "get_config", None), getattr(config, "_global_config", None)
    if get is None or default is None:
        return None, None
    return dict(get()), default
