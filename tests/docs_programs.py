"""Programs of the documentation: a page's blocks of ``python`` are one program.

A block of ``text`` right below one is what it prints.
"""

import contextlib
import io
import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def pages():
    """Return the pages that have a program."""
    return [page for page in sorted(DOCS.glob("*.md")) if BLOCKS.search(page.read_text())]


def executed(page, names=None):
    """Execute a page block after block in the current folder.

    Yields for each the line, what the page says that it prints (None if nothing), and what it has.
    """
    names = {} if names is None else names
    names["__name__"] = "__main__"
    text = page.read_text()
    for block in BLOCKS.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile("\n" * line + block[1], str(page), "exec"), names)
        yield line, block[2], printed.getvalue()
