"""What a run has tracked, checked when the run ends: the tables can keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mltraq_prefect.codecs import UserCodec, check, register_codec, user_codecs
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.values.natives import is_native
from mltraq_prefect.storage.values.projection import field_path


class FieldCheck:
    """Refuses fields that no database could keep; in workers by the codecs of this program.

    It is cheap: scalars are only looked at, and large values are not copied.
    """

    def __call__(self, fields: Mapping[str, Any]) -> None:
        """Check the fields of one run.

        Raises:
            InvalidName: A key cannot be stored.
            UnsupportedType: A value cannot be kept exactly.
        """
        for key, value in dict(fields).items():
            check_name(key, "field key")
            if not is_native(value):
                check(value, path=field_path(key))

    def __reduce__(self) -> tuple[Any, ...]:
        return _with_codecs, (user_codecs(),)


def _with_codecs(codecs: Sequence[UserCodec]) -> FieldCheck:
    for codec in codecs:
        register_codec(*codec)
    return FieldCheck()
