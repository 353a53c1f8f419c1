"""What users may assign of an experiment, checked when they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from mltraq_prefect.arguments import refused
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.storage import check_annotations


class Tags(dict[str, str]):
    """Tags of an experiment: what cannot be stored is refused when it is set.

    Args:
        experiment: Name of the experiment.
        tags: What it has.
    """

    __slots__ = ("_experiment",)

    def __init__(self, experiment: str, tags: Mapping[str, str]) -> None:
        super().__init__(tags)
        self._experiment = experiment

    def rename(self, experiment: str) -> None:
        """Tell of another name of the experiment."""
        self._experiment = experiment

    def __setitem__(self, name: str, tag: str) -> None:
        self.update({name: tag})

    def __ior__(self, tags: Any) -> Tags:  # type: ignore[override,misc]
        self.update(tags)
        return self

    def update(self, *tags: Any, **more: str) -> None:
        """Set some tags, or none of them if one cannot be stored."""
        now = {**self, **dict(*tags, **more)}
        super().update(check_annotations(now, "", self._experiment).tags)

    def setdefault(self, name: str, tag: str = "") -> str:
        """Set a tag that is not there; return the one that is there then."""
        if name not in self:
            self[name] = tag
        return self[name]

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class Parts:
    """The part of `Experiment` that users may assign."""

    _state: StoredState
    _fields: Namespace
    _runs: Runs
    _tags: Tags
    _note: str

    @property
    def name(self) -> str:
        """Name that identifies the experiment in its database; read-only, see `rename`."""
        return self._state.name

    @name.setter
    def name(self, value: object) -> NoReturn:
        raise AttributeError(
            f"experiment {self.name!r} is not renamed by an assignment, as its name identifies it "
            f"in its database; experiment.rename({value!r}) renames it there too, and "
            f"experiment.copy({value!r}) makes another experiment of it"
        )

    @property
    def fields(self) -> Namespace:
        """Values that are tracked of the experiment as a whole."""
        return self._fields

    @fields.setter
    def fields(self, values: Mapping[str, Any]) -> None:
        if not isinstance(values, Mapping):
            raise refused("experiment.fields", values, "a dict of values by key")
        self._fields = Namespace(values)

    @property
    def runs(self) -> Runs:
        """The runs by `id_run`, in the order in which they were added."""
        return self._runs

    @runs.setter
    def runs(self, runs: Runs) -> None:
        if runs is not self._runs:  # as `|=` assigns
            raise AttributeError(
                f"experiment {self.name!r}: its runs cannot be assigned; add_run and add_runs add "
                "to them, and `del experiment.runs[id_run]` takes one away"
            )

    @property
    def tags(self) -> Tags:
        """What people say of the experiment, by name."""
        return self._tags

    @tags.setter
    def tags(self, tags: Mapping[str, str]) -> None:
        self._tags = Tags(self.name, check_annotations(tags, "", self.name).tags)

    @property
    def note(self) -> str:
        """A text that tells people of the experiment."""
        return self._note

    @note.setter
    def note(self, note: str) -> None:
        self._note = check_annotations({}, note, self.name).note
