"""What differs between two runs, experiments or executions."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mltraq_prefect.execution.fingerprints.manifest import (
    PYTHON,
    changed_parts,
    moved,
    versions_in,
)
from mltraq_prefect.model import html
from mltraq_prefect.reports.provenance.code import sources_in
from mltraq_prefect.reports.provenance.sides import Made, Side, identity, side_of

if TYPE_CHECKING:
    import pandas as pd

_MISSING = object()

Pairs = dict[str, tuple[Any, Any]]
"""What differs by name: the values of both sides, None for what one of them does not have."""

_ELSEWHERE = ("version of ", "code of step ")
"""Parts of which versions, or the code itself, tell."""

_PARTS = ("params", "kwargs", "versions", "environment")


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two runs, experiments or executions; false if nothing does.

    Attributes:
        a: What the first is, for a person.
        b: What the second is.
        params: Params that differ, by name, with both values.
        kwargs: Kwargs that differ.
        code: Unified diffs of functions that differ, by name.
        code_values: What else differs in code: values that it reads, by name, for a person.
        versions: Versions that differ, of Python and of what steps import.
        environment: What differs in commit, program, machine, seed.
        steps: Steps that only one of them has executed, by name, each with whether it is there.
    """

    a: str
    b: str
    params: Pairs
    kwargs: Pairs
    code: dict[str, str]
    code_values: list[str]
    versions: Pairs
    environment: Pairs
    steps: Pairs = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(getattr(self, own.name) for own in fields(self)[2:])

    def df(self) -> pd.DataFrame:
        """Return what differs as a frame: columns `part`, `name`, `a`, `b`; code as its diff."""
        import pandas as pd

        rows = [(part, name, *pair) for part, name, pair in self.pairs()]
        rows += [("code", name, None, text) for name, text in self.code.items()]
        rows += [("code", text, None, None) for text in self.code_values]
        return pd.DataFrame(rows, columns=["part", "name", "a", "b"], dtype=object)

    def pairs(self) -> list[tuple[str, str, tuple[Any, Any]]]:
        """Return all that differs but code: part, name and both values."""
        parts = (*_PARTS, "steps")
        return [(part, name, pair) for part in parts for name, pair in getattr(self, part).items()]

    def __repr__(self) -> str:
        lines = [f"a: {self.a}", f"b: {self.b}"]
        if not self:
            return "\n".join([*lines, "nothing differs"])
        last = ""
        for part, name, (first, second) in self.pairs():
            lines += [f"{part}:"] if part != last else []
            lines.append(f"  {name}: {_shown(first)} -> {_shown(second)}")
            last = part
        if self.code or self.code_values:
            lines.append("code:")
        lines += [f"  {text}" for text in self.code_values]
        for text in self.code.values():
            lines += [f"  {line}" for line in text.splitlines()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html.page(f"{self.a}, {self.b}", *self.html())

    def html(self) -> list[html.Markup]:
        """Return it as pieces of HTML: a table of values, and the code."""
        if not self:
            return [html.text("nothing differs")]
        rows = [(part, name, _shown(a), _shown(b)) for part, name, (a, b) in self.pairs()]
        pieces = [html.table(["", "", self.a, self.b], rows)] if rows else []
        pieces += [html.text(text) for text in self.code_values]
        return [*pieces, *(code_html(text) for text in self.code.values())]


def diff(a: Any, b: Any) -> Difference:
    """Return what differs between two runs, experiments or executions.

    Args:
        a: A run, an experiment, a collection of runs such as those of a slot, or an execution
            that `Experiment.execution` has returned. Of several runs it is what they have in
            common, and the latest execution of each step.
        b: What to compare it with.

    Returns:
        Params, kwargs, code, versions and environment that differ. It prints as text, notebooks
        show it as a table; its attributes are the data.

    Raises:
        InvalidInput: It is something else, or there are no runs in it.
        CorruptData: What is stored is not what was written.

    Examples:
        >>> from mltraq_prefect import create_session
        >>> def square(run):
        ...     run.fields.square = run.params.x ** run.kwargs.power
        >>> experiment = create_session("sqlite://").add_experiment("squares").add_runs(x=[1, 2])
        >>> _ = experiment.execute(square, {"power": 2}, backend="local")
        >>> first, second = experiment.runs.values()
        >>> diff(first, second)
        a: run x=1
        b: run x=2
        params:
          x: 1 -> 2
    """
    one, other = side_of(a), side_of(b)
    both = [step for step in one.steps if step in other.steps]
    kwargs: Pairs = {}
    versions: Pairs = {}
    environment: Pairs = {}
    code: dict[str, str] = {}
    values: dict[str, None] = {}
    for step in both:
        was, now = one.steps[step], other.steps[step]
        code |= _code(was, now)
        versions |= _pairs(_versions(was), _versions(now))
        if was.execution is not None and now.execution is not None:
            kwargs |= _pairs(was.execution.kwargs, now.execution.kwargs)
            environment |= _pairs(_surroundings(was), _surroundings(now))
        values |= dict.fromkeys(_values(was, now, kwargs))
    return Difference(
        *(one.label, other.label),
        params=_pairs(one.params, other.params),
        kwargs=kwargs,
        code=code,
        code_values=list(values),
        versions=versions,
        environment=environment,
        steps=_steps(one, other),
    )


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> Pairs:
    names = dict.fromkeys((*a, *b))
    return {
        name: (a.get(name), b.get(name))
        for name in names
        if _identity(a, name) != _identity(b, name)
    }


def _identity(values: Mapping[str, Any], name: str) -> object:
    return identity(values[name]) if name in values else _MISSING


def _steps(a: Side, b: Side) -> Pairs:
    names = dict.fromkeys((*a.steps, *b.steps))
    return {
        name: (name in a.steps, name in b.steps)
        for name in names
        if (name in a.steps) != (name in b.steps)
    }


def _surroundings(made: Made) -> dict[str, Any]:
    if made.execution is None:
        return {}
    return {"seed": made.execution.seed} | made.execution.surroundings()


def _versions(made: Made) -> dict[str, str]:
    known = {} if made.execution is None else dict(made.execution.versions)
    return known | versions_in(code.parts for code in made.code)


def _code(was: Made, now: Made) -> dict[str, str]:
    """Return unified diffs of the functions that differ."""
    if was.fingerprint == now.fingerprint:
        return {}
    a, b = sources_in(was.code), sources_in(now.code)
    before, after = _parts(was), _parts(now)
    moves = moved(before, after)
    elsewhere = {*moves, *moves.values()}

    def is_same(name: str) -> bool:  # perhaps but for comments, or in another module
        part = f"code in {name}"
        return part in elsewhere or (part in before and before[part] == after.get(part))

    return {
        name: "\n".join(
            difflib.unified_diff(
                a.get(name, "").splitlines(), b.get(name, "").splitlines(), name, name, lineterm=""
            )
        )
        for name in dict.fromkeys((*a, *b))
        if a.get(name) != b.get(name) and not is_same(name)
    }


def _parts(made: Made) -> dict[str, str]:
    return {part: digest for code in made.code for part, digest in code.parts.items()}


def _values(was: Made, now: Made, kwargs: Pairs) -> list[str]:
    """Return what else differs in code, such as values that it reads, for a person."""
    if was.fingerprint == now.fingerprint or not was.code or not now.code:
        return []
    before, after = _parts(was), _parts(now)
    if before.get(PYTHON) != after.get(PYTHON):
        return []  # then the others cannot be compared
    told = {f"code in {name}" for made in (was, now) for name in sources_in(made.code)}
    told |= {f"value of {key} in kwargs" for key in kwargs}
    told -= moved(before, after).keys()
    return [
        text.removeprefix("other ")
        for part, text in changed_parts(before, after).items()
        if not part.startswith(_ELSEWHERE) and part not in told
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return html.shown(value) if not isinstance(value, str) else value


def code_html(text: str) -> html.Markup:
    """Return a diff as HTML, with what has come and what has gone as such."""
    elements = {"+": "ins", "-": "del"}
    lines = []
    for line in text.splitlines():
        element = "" if line.startswith(("+++", "---")) else elements.get(line[:1], "")
        shown = html.text(line)
        lines.append(f"<{element}>{shown}</{element}>" if element else shown)
    return html.Markup(f"<pre>{chr(10).join(lines)}</pre>")
