"""The recipes of the documentation work, word for word, in a copy of the repository."""

import pytest

from tests import servers
from tests.contributing.recipes import Copy, sections

RECIPES = sections()


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_works(title, tmp_path):
    copy = Copy(
        tmp_path,
        {
            "MLTRAQ_TEST_POSTGRESQL": servers.postgresql_url(),
            "MLTRAQ_TEST_MARIADB": servers.mariadb_url(),
        },
    )
    for block in RECIPES[title]:
        copy.follow(block)
    modules = sorted(name for name in copy.touched if name.endswith(".py"))
    copy.run(".venv/bin/ruff", "check", *modules)
    copy.run(".venv/bin/ruff", "format", "--check", *modules)
    copy.run(".venv/bin/lint-imports")
