"""Texts without what must not be stored: passwords, tokens, keys."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"

LEAST = 6
"""Characters of a secret that is looked for wherever it may be; shorter ones are in many words."""

MOST_BYTES = 1 << 16
"""Longer binary values are data, and no place for a secret."""

_WORD = (
    r"pass(?:word|wd|phrase|code)?(?![a-z])|pwd|secret|credential"
    r"|token(?!s|iz|_?(?:limit|count|len|dim|type|id))"
    r"|(?:api|access|private|secret|account|auth|encryption|signing|shared|service)[_-]?key"
    r"|auth(?!or)|authorization|cookie|(?<![a-z])(?:dsn|sas|pat)(?![a-z])"
)
_NAME = re.compile(_WORD, re.IGNORECASE)
_VARIABLE = re.compile(rf"{_WORD}|(?:^|_)key(?:_|$)", re.IGNORECASE)
_FOLDERS = frozenset(("PWD", "OLDPWD"))
"""Variables in which shells have folders: paths of scripts and of data begin with them."""

_PLAIN = frozenset(
    (
        *("true", "false", "enabled", "disabled", "required", "optional", "default"),
        *("development", "production", "staging"),
    )
)

_USER = re.compile(r"(?P<scheme>\b[\w+.-]+://)(?P<user>[^\s/@'\"<>]*)@")
_SHOWN_USERS = frozenset(("git", "root"))
_KNOWN_FORMS = re.compile(
    r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|sk-[\w-]{16,}|hf_\w{16,}"
    r"|xox[abprs]-[\w-]{10,}|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,}|pnu_\w{16,}|npm_\w{30,}"
    r"|pypi-[\w-]{16,}|wandb_v1_\w{16,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)(\s+)(?=[\w+/=.~-]*[\d+/=_.-])[\w+/=.~-]{8,}")
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----).*?"
    r"(-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\Z)",
    re.DOTALL,
)
_NAMED = rf"[\w.-]*(?:{_WORD})[\w.-]*"
_QUOTE = r"'''|\"\"\"|\\\"|'|\""
"""Notebooks have a backslash before those of their code."""

_OPEN_ENDS = ("=", "(", ",", "\\")
"""How a line of code ends that goes on with a text."""

LINES_AFTER = 2
"""A secret may be so many lines after its name."""

_VARIABLE_NAME = r"[A-Z][A-Z0-9]*_[A-Z0-9_]*"

_ALONE = r"(?=\s*[rbfu]{0,2}(?:'[^'\n]*'|\"[^\"\n]*\")\s*\))"
_ON = rf"(?:\s|\\\n|\((?:[ \t]*\n|{_ALONE}))*"
"""What is between an assignment and a text: also the end of a line, or brackets around both."""

_LITERAL = re.compile(
    rf"(?i)(?P<head>{_NAMED}\\?['\"]?\]?\)?(?:\s*:\s*[\w\[\] |.]+)?"
    rf"\s*(?:=|:(?![ \t]*\n)|,|==|\(){_ON}[rbfu]{{0,2}})"
    rf"(?P<quote>{_QUOTE})(?![<\[{{]|(?P=quote))(?P<value>.*?)(?P=quote)"
)
_IN_CALL = re.compile(
    rf"(?i)(?P<head>{_NAMED}\\?['\"]?\]?(?:\s*:\s*[\w\[\] |.]+)?\s*={_ON}(?:[\w.]+\(\s*)+"
    rf"(?:(?P<first>{_QUOTE})(?-i:{_VARIABLE_NAME})(?P=first)\s*,\s*)?[rbfu]{{0,2}})"
    rf"(?P<quote>{_QUOTE})(?![<\[{{]|(?P=quote)|(?-i:{_VARIABLE_NAME})(?P=quote))"
    r"(?P<value>.*?)(?P=quote)"
)
"""A text that a call makes the secret of, but for the name of a variable of the environment."""

_SECOND = re.compile(
    rf"(?i)(?P<head>auth(?!or)\w*\s*=?\s*\(\s*(?P<first>{_QUOTE})[^'\"\n]*(?P=first)\s*,\s*)"
    rf"(?P<quote>{_QUOTE})(?P<value>.*?)(?P=quote)"
)
"""The password after a name of a user, such as in ``auth=("ada", "...")``."""

_PAIR = re.compile(
    rf"(?i)(?P<head>{_NAMED}['\"]?\s*[=:]\s*['\"]?)"
    r"(?P<value>(?<=')[^'\n]+(?=')|(?<=\")[^\"\n]+(?=\")|[^\s'\",;&}]+)"
)
_FILE = re.compile(r"^\+\+\+ (?:b/)?(?P<path>.*?)\t?$")


class Secrets:
    """Hides secrets: those that are known, and what looks like one.

    Args:
        environment: Variables; the values of those that are named like secrets are known.
        known: Other secrets, such as the password of the database.
    """

    def __init__(self, environment: Mapping[str, str], known: Iterable[str] = ()) -> None:
        found = {secret for secret in known if len(secret) >= 4}
        for name, value in environment.items():
            found.update(password for password in _passwords(value) if len(password) >= LEAST)
            if name not in _FOLDERS and _VARIABLE.search(name) and _is_secret(value):
                found.add(value)
        found |= {unquote(secret) for secret in found}
        longest_first = sorted(found, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if found else None

    def text(self, text: str) -> str:
        """Return a text of any kind, such as a command line, without secrets."""
        return _PAIR.sub(_without_value, self._bare(text))

    def code(self, text: str) -> str:
        """Return source code without secrets: text literals that are named like one, and others."""
        return _without_literals(self._bare(text))

    def diff(self, text: str) -> str:
        """Return a diff without secrets: what counts as one depends on the kind of file."""
        return _diff(self._known, text)

    def arguments(self, arguments: Sequence[str]) -> str:
        """Return arguments of a command as a shell would take them, without secrets."""
        shown: list[str] = []
        before = ""
        for argument in arguments:
            shown.append(self._argument(argument, before))
            before = argument
        return shlex.join(shown).replace(shlex.quote(HIDDEN), HIDDEN)

    def _argument(self, argument: str, before: str) -> str:
        is_value = before.startswith("-") and "=" not in before and not argument.startswith("-")
        if is_value and _NAME.search(before):
            return HIDDEN
        if is_value and before in ("-u", "--user") and ":" in argument:
            return f"{argument.partition(':')[0]}:{HIDDEN}"
        name, is_assigned, _ = argument.partition("=")
        if is_assigned and _NAME.search(name) and "://" not in name and not _is_structured(name):
            return f"{name}={HIDDEN}"
        return self.text(argument)

    def is_in(self, value: Any) -> bool:
        """Return whether a tree of dicts and lists holds a secret, by its keys or texts."""
        waiting, texts, met = [value], [], {}
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                texts.append(item)
            elif isinstance(item, bytes) and len(item) <= MOST_BYTES:
                texts.append(item.decode("latin-1"))
            elif isinstance(item, _TREES) and id(item) not in met:
                met[id(item)] = item
                if isinstance(item, Mapping):
                    if any(_is_secret_pair(key, own) for key, own in item.items()):
                        return True
                    item = item.values()
                waiting += [own for own in item if isinstance(own, (str, bytes, *_TREES))]
        text = "\0".join(texts)
        return self._bare(text) != text

    def _bare(self, text: str) -> str:
        return _bare(self._known, text)


_TREES = (Mapping, list, tuple, set, frozenset)


def is_secret_name(name: str) -> bool:
    """Return whether what is called so is probably a secret."""
    return bool(_NAME.search(name))


def _is_secret_pair(key: Any, value: Any) -> bool:
    is_held = isinstance(value, (str, bytes)) and bool(value)
    return is_held and isinstance(key, str) and is_secret_name(key)


def _is_structured(name: str) -> bool:
    """Return whether the text before an equals sign is more than a name, such as JSON."""
    return any(mark in name for mark in "{[\"' ,")


def _is_secret(value: str) -> bool:
    is_number = value.isdigit() and len(value) < 8
    return len(value) >= LEAST and not is_number and value.lower() not in _PLAIN


def _passwords(text: str) -> list[str]:
    found = []
    if "://" in text:
        for match in _USER.finditer(text):
            user, _, password = match["user"].partition(":")
            found.append(password or ("" if _is_shown(match["scheme"], user) else user))
    return found


def _is_shown(scheme: str, user: str) -> bool:
    """Return whether the user of a URL without a password is a name, and no token."""
    return user in _SHOWN_USERS or not scheme.lower().startswith("http")


def _without_user(match: re.Match[str]) -> str:
    user, colon, _ = match["user"].partition(":")
    if colon:
        return f"{match['scheme']}{user}:{HIDDEN}@"
    return match[0] if _is_shown(match["scheme"], user) else f"{match['scheme']}{HIDDEN}@"


def _without_value(match: re.Match[str]) -> str:
    is_shown = match["value"].lower().startswith(("//", HIDDEN, "bearer", "basic"))
    return match[0] if is_shown else f"{match['head']}{HIDDEN}"


def _bare(known: re.Pattern[str] | None, text: str) -> str:
    """Return a text without what is a secret wherever it is."""
    if known is not None:
        text = known.sub(HIDDEN, text)
    if "://" in text:
        text = _USER.sub(_without_user, text)
    text = _PRIVATE_KEY.sub(rf"\1{HIDDEN}\2", text)
    return _SCHEME.sub(rf"\1\2{HIDDEN}", _KNOWN_FORMS.sub(HIDDEN, text))


@functools.lru_cache(maxsize=1)
def _diff(known: re.Pattern[str] | None, text: str) -> str:
    """Return a diff without secrets; programs that execute often have the same one each time."""
    lines, is_code = _bare(known, text).split("\n"), True
    for index, line in enumerate(lines):
        if found := _FILE.match(line):
            is_code = found["path"].endswith((".py", ".pyi", ".ipynb", ".pyx"))
        # What looks like a header may be a line of a file, and git quotes lines in headers.
        if not _NAME.search(line):  # each pattern below has such a name in it, and costs far more
            continue
        if is_code:
            _hide_from(lines, index)
        else:
            lines[index] = _PAIR.sub(_without_value, line)
    return "\n".join(lines)


def _hide_from(lines: list[str], index: int) -> None:
    """Hide literals that are named by a line of a diff, in it and in those that go on with it.

    Args:
        lines: All lines of the diff; some are replaced.
        index: Of the line. One that is in both files goes on in each of them.
    """
    lines[index] = _without_literals(lines[index])
    for other in "-+" if lines[index].rstrip().endswith(_OPEN_ENDS) else "":
        place, places = index, [index]
        while len(places) <= LINES_AFTER and (place := place + 1) < len(lines):
            if lines[place][:1] in (" ", other):
                places.append(place)
            elif lines[place][:1] not in "-+\\":
                break
        if lines[index][:1] in (" ", other) and len(places) > 1:
            code = _without_literals("\n".join(lines[place][1:] for place in places))
            for place, line in zip(places, code.split("\n"), strict=True):
                lines[place] = lines[place][:1] + line


def _without_literals(text: str) -> str:
    for pattern in (_SECOND, _LITERAL, _IN_CALL):
        text = pattern.sub(_without_literal, text)
    return text


def _without_literal(match: re.Match[str]) -> str:
    return f"{match['head']}{match['quote']}{HIDDEN}{match['quote']}"
