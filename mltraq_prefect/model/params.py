"""The params of a run, which identify it."""

from __future__ import annotations

from typing import Any, NoReturn

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.description import describe
from mltraq_prefect.model.namespace import Namespace


class Params(Namespace):
    """The params of a run of an experiment: its id is made of them, so they stay as they are."""

    __slots__ = ()

    def _refuse(self, *_args: Any, **_named: Any) -> NoReturn:
        """Refuse to set or delete items.

        Raises:
            InvalidInput: Always.
        """
        raise InvalidInput(
            f"run {describe(self) or 'without params'}: its params identify it and cannot be "
            "changed; add_run() with other params adds another run, and what a run finds out goes "
            "to run.fields"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse
