"""What decides a result, by name: each part has a digest, so that a difference has a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MappingProxyType
from typing import NamedTuple

from mltraq_prefect.execution.fingerprints.sources import edited, sources_of
from mltraq_prefect.execution.fingerprints.values import combined

SCHEME = "3"
"""How fingerprints are made; those of another scheme cannot be compared."""

SHOWN = 5

NO_PARTS: Mapping[str, Mapping[str, str]] = {}

_VERSION_PREFIX = "version of "
_CODE_PREFIX = "code in "
_STEP_PREFIX = "code of step "

PYTHON = f"{_VERSION_PREFIX}Python"


class ModuleReads(NamedTuple):
    """What code reads from modules of the user.

    Attributes:
        names: Of globals, by module; of those of the program itself there are none.
        imports: Modules that it imports while it runs.
    """

    names: Mapping[str, frozenset[str]] = MappingProxyType({})
    imports: frozenset[str] = frozenset()

    def with_those(self, other: ModuleReads) -> ModuleReads:
        """Return these reads and others."""
        modules = self.names.keys() | other.names.keys()
        none = frozenset[str]()
        names = {m: self.names.get(m, none) | other.names.get(m, none) for m in modules}
        return ModuleReads(names, self.imports | other.imports)


NO_READS = ModuleReads()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts that a fingerprint was made of.

    Attributes:
        parts: Digests by name, such as ``code of helper.prepare``; versions stand for themselves.
        functions: The functions of the user that are among them, by their names.
        classes: The same for classes.
        reads: What their code reads from modules.
    """

    parts: Mapping[str, str]
    functions: Mapping[str, FunctionType] = field(default_factory=dict, compare=False, repr=False)
    classes: Mapping[str, type] = field(default_factory=dict, compare=False, repr=False)
    reads: ModuleReads = field(default=NO_READS, compare=False, repr=False)

    @property
    def digest(self) -> str:
        """128 bits in hexadecimal digits."""
        return combined(*(text for part in sorted(self.parts.items()) for text in part))

    def sources(self) -> dict[str, str]:
        """Return the source texts of functions and classes, as far as they are known."""
        return sources_of(self.functions, self.classes)

    def edited(self) -> list[str]:
        """Return the functions whose modules would be others if they were imported now."""
        return edited(self.functions)


def fingerprint(code: Manifest, kwargs: Manifest, seed: int) -> str:
    """Return the text that stands for what was executed."""
    return f"{SCHEME}:{code.digest}-{kwargs.digest}-{seed}"


@dataclass(frozen=True, slots=True)
class Split:
    """A fingerprint taken apart.

    Attributes:
        scheme: How it was made.
        code: Digest of the code that a step reaches.
        kwargs: Digest of the kwargs.
        seed: The seed, as text.
        params: Digest of the code that the params of a run lead to, if they do.
    """

    scheme: str
    code: str
    kwargs: str
    seed: str
    params: str


def split(text: str) -> Split:
    """Take a fingerprint apart."""
    scheme, colon, rest = text.rpartition(":")
    code, kwargs, seed, params, *_ = *rest.split("-"), "", "", "", ""
    return Split(scheme if colon else "1", code, kwargs, seed, params)


def differences(
    before: str, now: str, parts: Mapping[str, Mapping[str, str]] = NO_PARTS
) -> list[str]:
    """Return what differs between two fingerprints, for a person.

    Args:
        before: The one that is stored.
        now: That of the execution.
        parts: What digests were made of, as far as it is known.
    """
    old, new = split(before), split(now)
    if old.scheme != new.scheme:
        return ["a fingerprint of an earlier version of this package, which cannot be compared"]
    found = []
    for name in ("code", "kwargs", "params"):
        was, is_ = getattr(old, name), getattr(new, name)
        if was != is_:
            found += _named(parts.get(was), parts.get(is_), name)
    if old.seed != new.seed:
        found.append(f"other seed ({old.seed} -> {new.seed})")
    return found


def has_other_code(before: str, now: str) -> bool:
    """Return whether two fingerprints are of different code, or cannot be compared."""
    old, new = split(before), split(now)
    return (old.scheme, old.code) != (new.scheme, new.code)


def _named(before: Mapping[str, str] | None, now: Mapping[str, str] | None, name: str) -> list[str]:
    if before is None or now is None:
        return [f"other {name}"]
    texts = changed_parts(before, now)
    found = [text for part, text in texts.items() if part in before and part in now]
    if PYTHON in texts:
        found = [texts[PYTHON]]  # whose other parts cannot be compared
    elif not found or moved(before, now):
        found = [*dict.fromkeys(texts.values())]
    if len(found) > SHOWN:
        found[SHOWN:] = [f"and {len(found) - SHOWN} more"]
    return found


def changed_parts(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return for each part that differs what a person is told of it."""
    moves = moved(before, now)
    both = [part for part in now if part in before and before[part] != now[part]]
    if moves:  # of which a step has the names
        both = [part for part in both if not part.startswith(_STEP_PREFIX)]
    gone = before.keys() - {*now, *moves.values()}
    return {
        **{part: f"other {_shown(part, before, now)}" for part in both},
        **{part: _moved_text(old, part) for part, old in moves.items()},
        **{part: f"now with the {part}" for part in now if part not in {*before, *moves}},
        **{part: f"now without the {part}" for part in before if part in gone},
    }


def moved(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the parts whose code was the same in another module, with their names there."""
    gone = {
        (_in_module(part)[1], digest): part
        for part, digest in before.items()
        if part not in now and part.startswith(_CODE_PREFIX)
    }
    new = [part for part in now if part not in before and part.startswith(_CODE_PREFIX)]
    found = {part: gone.get((_in_module(part)[1], now[part])) for part in new}
    return {part: old for part, old in found.items() if old is not None}


def _in_module(part: str) -> tuple[str, str]:
    """Return the module that a part is the code in, and what it is called there."""
    module, _, name = part.removeprefix(_CODE_PREFIX).partition(".")
    return module, name


def _moved_text(old: str, new: str) -> str:
    return f"the same code in module {_in_module(new)[0]}, which was in {_in_module(old)[0]}"


def _shown(part: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    values = [parts[part].partition(" ")[2] or parts[part] for parts in (before, now)]
    if part.startswith(_VERSION_PREFIX) or all(" " in parts[part] for parts in (before, now)):
        return f"{part} ({values[0]} -> {values[1]})"
    return part


def versions_in(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the versions of distributions that are among parts, by name, but not Python's."""
    found = {name: version for own in parts for name, version in own.items()}
    return {
        name.removeprefix(_VERSION_PREFIX): version
        for name, version in sorted(found.items())
        if name.startswith(_VERSION_PREFIX) and name != PYTHON
    }


def version_part(name: str) -> str:
    """Return the name of the part that is the version of something."""
    return f"{_VERSION_PREFIX}{name}"
