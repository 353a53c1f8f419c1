"""Programs of the documentation run as they are written, and print what it says.

The blocks of ``python`` on a page are one program, executed block after block in a new folder.
A block of ``text`` right below one is what it prints.
"""

import logging
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted(DOCS.glob("*.md")) if BLOCKS.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_program_of_a_page(page, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.CRITICAL, "mltraq_prefect")
    caplog.set_level(logging.getLogger("prefect").level, "prefect")  # pages may change it
    names = {"__name__": "__main__"}
    text = page.read_text()
    for block in BLOCKS.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(page), "exec"), names)
        printed = capsys.readouterr().out
        if block[2] is not None:
            assert printed.rstrip() == block[2].rstrip(), f"line {line} of {page.name}"
