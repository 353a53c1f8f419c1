"""Kinds of identifiers."""

from __future__ import annotations

import uuid
from typing import ClassVar

from mltraq_prefect.storage.values.kinds.base import Kind


class Uuid(Kind):
    """UUIDs of the user."""

    name = "uuid"
    natives: ClassVar[dict[type, str]] = {uuid.UUID: "uuid"}


class Key(Kind):
    """ASCII identifiers of at most 64 characters, in fixed tables only."""

    name = "key"


UUID = Uuid()
KEY = Key()
