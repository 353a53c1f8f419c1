"""Elements of SVG. What is given as text or as a value of an attribute is escaped here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

LETTER = 6.4
"""Width of a letter of a label in pixels, about."""

BROAD = 500.0
"""A wider picture is scrolled on a small screen, where its letters would be too small."""


def fitted(label: str, pixels: float, least: int = 4) -> str:
    """Return a label, cut to a width; `least` letters stay."""
    letters = max(least, int(pixels / LETTER + 1e-6))  # the room for 9 letters is room for 9
    return label if len(label) <= letters else label[: letters - 1] + "…"


def element(name: str, *children: str, **attributes: Any) -> str:
    """Return an element.

    Args:
        name: Of the element.
        *children: Elements in it, as SVG.
        **attributes: Its attributes; a trailing underscore is left out of their names, others are
            hyphens. None leaves one out.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_shown(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(children)
    return f"<{name}{told}>{inner}</{name}>" if inner else f"<{name}{told}/>"


def text(x: float, y: float, content: str, **attributes: Any) -> str:
    """Return text at a point."""
    return element("text", escape(content), x=x, y=y, **attributes)


def title(content: str) -> str:
    """Return what a page shows while the pointer is on the element around it."""
    return element("title", escape(content))


def path(points: Iterable[tuple[float, float]]) -> str:
    """Return the outline of a line through points, for the attribute ``d``."""
    joined = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f"M{joined}" if joined else ""


def figure(width: float, height: float, label: str, *children: str, is_small: bool = False) -> str:
    """Return a picture that is as wide as its place allows, up to its own width.

    Args:
        width: In pixels.
        height: In pixels.
        label: What it shows, for who cannot see it.
        *children: Elements in it, as SVG.
        is_small: Whether it keeps its width in a table, which would leave it none.
    """
    kind = " small" if is_small else " broad" if width > BROAD else ""
    return element(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        class_=f"figure{kind}",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        role="img",
        aria_label=label,
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)
