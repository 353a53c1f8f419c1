"""The documentation as a site: complete, without dead links, and it asks no other host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mltraq_prefect as mltraq
from tests import tutorial

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        check=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    return folder


def test_it_has_all_that_is_public(site):
    """Building it fails for a page that nothing leads to, and for a link that leads nowhere."""
    pages = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    docs = ROOT / "docs"
    written = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    assert {name.replace("README", "index") for name in written} <= pages

    errors = {name for name in mltraq.__all__ if _is_error(getattr(mltraq, name))}
    table = (docs / "errors.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == errors
    api = (site / "api.html").read_text()
    others = {*mltraq.__all__} - errors - {"FailureGroup", "MltraqError"}
    assert {name for name in others if f'id="mltraq_prefect.{name}"' not in api} == set()
    for method in ("Session.frame", "Experiment.execute", "Experiment.delete_runs", "Run.log"):
        assert f'id="mltraq_prefect.{method}"' in api


def _is_error(value):
    return (
        isinstance(value, type)
        and issubclass(value, mltraq.MltraqError)
        and (value is not mltraq.MltraqError)
    )


def test_it_loads_nothing_from_elsewhere(site):
    loaded = r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=\"([^\"]+)|<link\b[^>]*?\bhref=\"([^\"]+)"
    for page in site.rglob("*.html"):
        links = ["".join(found) for found in re.findall(loaded, page.read_text())]
        assert links
        assert [link for link in links if re.match(r"(?:https?:)?//", link)] == []


def test_its_pictures_are_there(site):
    shown = set()
    for page in site.rglob("*.html"):
        for source in re.findall(r"<img\b[^>]*?\bsrc=\"([^\"]+)", page.read_text()):
            assert (page.parent / source).is_file(), f"{page.name} shows {source}"
            shown.add(source)
    assert shown >= {f"pictures/{name}" for name in tutorial.shown()} != set()


def test_links_out_of_the_pages_lead_to_the_repository(site):
    text = (site / "deployments.html").read_text()
    assert '/mltraq_prefect/blob/main/flows/coin_toss.py"' in text
