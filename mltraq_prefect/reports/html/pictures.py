"""Figures as pictures of their own, for what shows images and has no style of ours."""

from __future__ import annotations

import base64
import functools
import re

from mltraq_prefect.reports.figures import palette
from mltraq_prefect.reports.figures.svg import element
from mltraq_prefect.reports.html.render import render

_MARGIN = 10.0
_TITLES = re.compile(r"<title>[^<]*</title>")
_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def picture(svg: str) -> str:
    """Return a figure on paper of its own, readable on dark and light pages.

    It does not follow the theme: a picture knows that of the system, not that of its page.
    """
    found = _SIZE.search(svg)
    width, height = (float(part) + 2 * _MARGIN for part in (found.groups() if found else (0, 0)))
    paper = element("rect", width=width, height=height, rx=6, fill="#ffffff")
    # What is told of a point under the pointer, no image shows.
    placed = _TITLES.sub("", svg).replace("<svg ", f'<svg x="{_MARGIN:g}" y="{_MARGIN:g}" ', 1)
    return element(
        "svg",
        element("style", _style()),
        paper,
        placed,
        xmlns="http://www.w3.org/2000/svg",
        class_="mltraq",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
    )


def markdown_picture(svg: str, label: str) -> str:
    """Return a figure as an image of Markdown, which needs no other file."""
    data = base64.b64encode(picture(svg).encode(errors="replace")).decode()
    return f"![{label}](data:image/svg+xml;base64,{data})"


@functools.cache
def _style() -> str:
    return f".mltraq {{ {palette.LIGHT} }}\n{render('figures.css')}"
