"""A study as one HTML file, or as a part of a notebook."""

from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.reports.html.render import render, style
from mltraq_prefect.reports.html.sections import SECTIONS, built, header_of
from mltraq_prefect.reports.study.study import Study
from mltraq_prefect.version import __version__


def report(study: Study) -> str:
    """Return a page that needs nothing else: no server, no script, no other file."""
    now = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    return render(
        "report.html",
        title=study.header.name,
        style=style(),
        refresh=None,
        sections=_sections(study),
        footer=f"Made by mltraq_prefect {__version__}, {now}.",
        **header_of(study),
    )


def write_report(study: Study, path: str | Path) -> Path:
    """Write a study into a file, in the place of one that there is.

    Args:
        study: The study.
        path: The file, with the suffix ``.html``.

    Returns:
        The file.

    Raises:
        InvalidInput: The file has another suffix, or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InvalidInput(f"a report is HTML: give its file the suffix .html, not {path.suffix!r}")
    text = report(study)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise InvalidInput(f"the report cannot be written to {path}: {error.strerror}") from None
    return path


class View:
    """The results of an experiment in a notebook.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def __repr__(self) -> str:
        header = self._study.header
        return f"<results of experiment {header.name!r}, {header.runs:,} runs; notebooks show them>"

    def _repr_html_(self) -> str:
        sections = _sections(self._study)
        parts = header_of(self._study) | {"sections": sections}
        return render("view.html", style=style(), **parts)


def _sections(study: Study) -> list[dict[str, str]]:
    parts = ((section, built(section, study, None)) for section in SECTIONS)
    return [{"key": own.key, "title": own.title, "html": html} for own, html in parts]
