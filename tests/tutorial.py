"""The pictures of the tutorial: figures of the reports that its program writes."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mltraq_prefect.reports.html.pictures import picture
from tests.docs_programs import DOCS

PAGE = DOCS / "tutorial.md"
PICTURES = DOCS / "pictures"
FIGURES = {
    "tutorial-curves.svg": ("digits.html", "accuracy against step"),
    "tutorial-effect.svg": ("tested.html", "test_accuracy against rate"),
}
"""Of each picture, in the order of the page, the report and what its figure is called there."""

SVG = "{http://www.w3.org/2000/svg}"


def drawn(folder):
    """Return the pictures by name, from the reports in a folder."""
    found = {}
    for name, (report, label) in FIGURES.items():
        text = Path(folder, report).read_text()
        (svg,) = re.findall(rf'<svg [^>]*aria-label="{label}">.*?</svg>', text, re.DOTALL)
        found[name] = picture(svg)
    return found


def shown():
    """Return the names of the pictures that the page shows."""
    return re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", PAGE.read_text())


class Figure:
    """What a person reads off a picture: names of axes, and marks at their values."""

    def __init__(self, svg):
        self._root = ElementTree.fromstring(svg)
        self.names = [node.text for node in self._all("text", "name")]

    def columns(self):
        """Return mean and error of each point, by the number below it."""
        labels = {float(node.get("x")): node.text for node in self._ticks("middle")}
        scale = self._scale()
        return {labels[x]: measured for x, measured in self._errors(scale)}

    def lines(self):
        """Return the values of each line that has a band, by its label."""
        scale = self._scale()
        bands = [node.get("class").split()[1] for node in self._all("path", "band")]
        dots = [node for node in self._all("circle") if node.get("r") == "3.5"]
        return {
            label.text: [scale(dot.get("cy")) for dot in dots if dot.get("class") == colour]
            for label, colour in zip(self._ticks(None), bands, strict=True)
        }

    def _errors(self, scale):
        """Yield the place of each point on the first axis, its mean and its error."""
        for bar in self._all("line", "error"):
            low, high = sorted(scale(bar.get(f"y{end}")) for end in (1, 2))
            place = (float(bar.get("x1")) + float(bar.get("x2"))) / 2
            yield place, ((low + high) / 2, (high - low) / 2)

    def _scale(self):
        """Return what turns a place on the second axis into a value."""
        # The base of a label is 4 below its line.
        ticks = [(float(tick.get("y")) - 4, float(tick.text)) for tick in self._ticks("end")]
        slope, start = np.polyfit(*zip(*ticks, strict=True), 1)
        return lambda place: slope * float(place) + start

    def _ticks(self, anchor):
        return [node for node in self._all("text", "tick") if node.get("text-anchor") == anchor]

    def _all(self, tag, name=None):
        nodes = self._root.iter(SVG + tag)
        return [node for node in nodes if name is None or name in node.get("class", "").split()]
