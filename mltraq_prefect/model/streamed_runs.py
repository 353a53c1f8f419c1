"""The runs of a grid that is streamed: their number is known, and none of them is in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.html import note, page
from mltraq_prefect.model.notebook import pairs
from mltraq_prefect.model.runs import Runs


class StreamedRuns(Runs):
    """Runs that are made while they are executed, and are in the database afterwards.

    Whoever asks for one of them is told where it is: a run that is made for the question would lose
    what is done to it.

    Args:
        experiment: Returns the name of the experiment.
        count: How many there are.
    """

    def __init__(self, experiment: Callable[[], str], count: int) -> None:
        super().__init__()
        self._experiment, self._count = experiment, count

    def __len__(self) -> int:
        return self._count

    def refuse(self) -> NoReturn:
        """Say where the runs are.

        Raises:
            InvalidInput: Always.
        """
        raise InvalidInput(
            f"experiment {self._experiment()!r}: its {len(self):,} runs are streamed, so this "
            "object does not have them. execute(steps, checkpoint=True) executes and stores them; "
            "session.frame(name, where=...) and session.load(name, where=..., columns=...) read "
            "those that you want. Other runs are added to another object: "
            "session.add_experiment(name)"
        )

    def set_origin(self, origin: Any) -> None:
        """Do nothing: runs are told when they are made."""

    def shown(self, title: str, about: str = "", fields: Mapping[str, Any] | None = None) -> str:
        """Return a page about the runs for a notebook."""
        own = [pairs("of the experiment", fields)] if fields else []
        return page(title, about, note(f"{len(self):,} runs of a grid that is streamed"), *own)

    def _repr_html_(self) -> str:
        return self.shown(f"{len(self):,} runs")


def _refusing(name: str) -> Callable[..., Any]:
    """Return the method of a dict that says where the runs are."""

    def call(self: StreamedRuns, *_args: Any, **_named: Any) -> NoReturn:
        self.refuse()

    call.__name__ = name
    return call


for _name in (
    *("__contains__", "__delitem__", "__eq__", "__getitem__", "__ior__", "__iter__", "__ne__"),
    *("__or__", "__reduce_ex__", "__reversed__", "__ror__", "__setitem__", "add", "clear", "copy"),
    *("df", "first", "get", "items", "keys", "next", "pop", "popitem", "setdefault", "update"),
    "values",
):
    setattr(StreamedRuns, _name, _refusing(_name))
