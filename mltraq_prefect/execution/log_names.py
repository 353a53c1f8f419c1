"""Names of the files with what runs logged and printed."""

from __future__ import annotations

import re

_UNFIT = re.compile(r"[\x00-\x1f\x7f/\\:]")


def log_name(step: str) -> str:
    """Return the name of the file with the log of a step."""
    return f"logs/{_UNFIT.sub('_', step)[:50]}.txt"
