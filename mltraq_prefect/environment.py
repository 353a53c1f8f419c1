"""The environment variables that begin with MLTRAQ_: which there are, and none beside them.

A misspelt variable would be as good as none, and a database that it names would stay empty.
"""

from __future__ import annotations

import difflib
import math
import os
import re

from mltraq_prefect.errors import InvalidInput

DATABASE_URL = "MLTRAQ_DATABASE_URL"
DATABASE_WAIT = "MLTRAQ_DATABASE_WAIT"
FILES = "MLTRAQ_FILES_LOCATION"
PICKLE_KEY = "MLTRAQ_PICKLE_KEY"
PROVENANCE = "MLTRAQ_PROVENANCE"
RESULTS_PAGES = "MLTRAQ_RESULTS_PAGES"
UI_PASSWORD = "MLTRAQ_UI_PASSWORD"  # noqa: S105  the name of a variable

WAIT_SECONDS = 1_800
"""How long an execution waits for its database, unless a variable says it."""

_PREFIX = "MLTRAQ_"
_OF_USERS = (
    DATABASE_URL,
    DATABASE_WAIT,
    FILES,
    PICKLE_KEY,
    PROVENANCE,
    RESULTS_PAGES,
    UI_PASSWORD,
)
_OF_DEVELOPERS = re.compile(r"MLTRAQ_(PEERS_PYTHON|TEST_\w+)")
_OF_KUBERNETES = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)"
)
"""Each pod has variables of each service; one that is called `mltraq-db` has them in our prefix."""


def check_variables() -> None:
    """Refuse variables that begin with MLTRAQ_, in whatever case, and are not known.

    Raises:
        InvalidInput: There is one; the message names the variable that is most like it.
    """
    for name in sorted(os.environ):
        shouted = name.upper()
        if not shouted.startswith(_PREFIX) or name in _OF_USERS or _is_of_others(name):
            continue
        (nearest,) = difflib.get_close_matches(shouted, _OF_USERS, n=1, cutoff=0)
        raise InvalidInput(
            f"there is no environment variable {name}; do you mean {nearest}? Known are "
            f"{', '.join(_OF_USERS)}: rename it, or unset it"
        )


def database_wait() -> float:
    """Return how many seconds an execution waits for a database that has gone away.

    Raises:
        InvalidInput: The variable has something else.
    """
    text = os.environ.get(DATABASE_WAIT, str(WAIT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InvalidInput(f"{DATABASE_WAIT} is {text!r}; give a number of seconds, such as 1800")
    return seconds


def _is_of_others(name: str) -> bool:
    return bool(_OF_DEVELOPERS.fullmatch(name) or _OF_KUBERNETES.fullmatch(name))
