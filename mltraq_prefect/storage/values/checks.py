"""What a run has tracked, checked when the run ends: the tables can keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mltraq_prefect.codecs import check
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.values.natives import is_native
from mltraq_prefect.storage.values.projection import field_path


def check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse fields that no database could keep.

    It is cheap: scalars are only looked at, and large values are not copied.

    Args:
        fields: Of one run.

    Raises:
        InvalidName: A key cannot be stored.
        UnsupportedType: A value cannot be kept exactly.
    """
    for key, value in dict(fields).items():
        check_name(key, "field key")
        if not is_native(value):
            check(value, path=field_path(key))
