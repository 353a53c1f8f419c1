"""The code behind fingerprints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Protocol

from mltraq_prefect.execution.fingerprints import split


class Code(Protocol):
    """What a digest in fingerprints was made of."""

    @property
    def parts(self) -> Mapping[str, str]:
        """Digests of the parts by their name."""

    @property
    def sources(self) -> Mapping[str, str]:
        """Source text of functions by their name, as far as it is known."""


KnownCode = Mapping[str, Code]
"""By the digests in fingerprints."""


def of_fingerprint(fingerprint: str | None, known: KnownCode) -> list[Code]:
    """Return what a fingerprint was made of: the code of the step, kwargs, params."""
    found = split(fingerprint or "")
    digests = (found.code, found.kwargs, found.params)
    return [known[digest] for digest in digests if digest in known]


def sources_in(codes: Iterable[Code]) -> dict[str, str]:
    """Return the source text of each function by its name, that of the step first."""
    found: dict[str, str] = {}
    for code in codes:
        for name, text in code.sources.items():
            found.setdefault(name, textwrap.dedent(text))
    return found


def as_text(sources: Mapping[str, str]) -> str:
    """Return sources as one text, each below its name."""
    return "\n\n".join(f"# {name}\n{text.rstrip()}\n" for name, text in sources.items())
