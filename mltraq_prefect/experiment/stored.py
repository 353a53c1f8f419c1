"""What is asked of an experiment as it is stored, and what tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mltraq_prefect.arguments import check_flags, check_text, names_of, path_of
from mltraq_prefect.errors import ExperimentNotFound, InvalidInput
from mltraq_prefect.execution.kept_failures import KeptFailures
from mltraq_prefect.experiment.parts import Parts
from mltraq_prefect.orchestration.current import inside_run
from mltraq_prefect.orchestration.links import page_url
from mltraq_prefect.reports.overview import info_of, links_of, own_fields_of
from mltraq_prefect.storage import check_name
from mltraq_prefect.storage.frames import query_frame
from mltraq_prefect.storage.maintenance.deleting import Condition

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.reports.html.report import View
    from mltraq_prefect.reports.study.study import Study


class Stored(Parts):
    """The part of `Experiment` that reads and changes what is stored."""

    _failures: KeptFailures

    @property
    def id_experiment(self) -> str:
        """UUID as text; read-only. Merging into a stored experiment adopts the stored id."""
        return self._state.id_experiment

    @id_experiment.setter
    def id_experiment(self, value: object) -> NoReturn:
        raise AttributeError(
            f"experiment {self.name!r}: id_experiment cannot be set to {value!r}: it identifies "
            "the experiment in its database"
        )

    def rename(self, name: str) -> None:
        """Give the experiment another name, in the database too if it is stored there.

        Its table gets the name that goes with it; runs keep their ids, and new runs get the ids
        that they would have had: they are made of the name that the experiment had first.

        Args:
            name: The new name.

        Raises:
            InvalidName: The name is not text, or is empty; nothing was changed.
            ExperimentExists: The database has an experiment of this name; nothing was changed.
            StoreError: The database refused, or something of a user's that goes by the name of
                the table would not follow, which the message names; nothing was changed.
        """
        check_name(name, "experiment name")
        self._state.rename(name)
        self._failures.rename(name)
        self._tags.rename(name)

    def delete_runs(self, where: str, params: Mapping[str, Any] | None = None) -> int:
        """Delete runs from the database and from this object, with all that belongs to them.

        Args:
            where: Which runs: a condition in SQL about the columns of the experiment's view, such
                as ``lr > :lr AND state = 'failed'``. ``:x`` stands for the param `x`.
            params: Values of the params of the condition, by name.

        Returns:
            How many runs were deleted.

        Raises:
            ExperimentNotFound: The database does not have the experiment.
            InvalidInput: `where` is no condition, as `Session.frame` tells; nothing was deleted.
            FieldNotFound: `where` names no column; nothing was deleted.
            QueryFailed: The database does not understand the condition; nothing was deleted.
            StoreError: The database cannot be written; it is as it was before.
        """
        gone = self._state.delete_runs(Condition(where, {} if params is None else params))
        for id_run in gone:
            self._state.content.runs.pop(id_run, None)
        return len(gone)

    def delete(self) -> None:
        """Delete the experiment from the database; this object keeps its runs in memory.

        Their series stay in memory too, and their files on this machine until the program ends.

        Raises:
            CorruptData: A value is not what was written; nothing was deleted.
            StorageFull: There is no room for the files; nothing was deleted.
            ExperimentNotFound: The database does not have it.
            StoreError: The database cannot be written; it is as it was before.
        """
        self._state.delete()

    def query(
        self,
        sql: str = "SELECT * FROM {experiment}",
        params: Mapping[str, Any] | None = None,
        *,
        decode: bool = False,
    ) -> pd.DataFrame:
        """Return the rows of an SQL statement.

        Args:
            sql: One statement that only reads. ``{experiment}`` stands for the experiment's table,
                ``:x`` for the param `x`.
            params: Values of the params, by name.
            decode: Whether columns of experiments that are binary or JSON are decoded: arrays,
                frames and trees instead of bytes and text.

        Returns:
            A frame with the columns and rows of the result; dtypes are those of `Runs.df`. A column
            that is one of an experiment's has its truth values, dates, times and UUIDs, where the
            database gives numbers or text; docs/queries.md says which columns that are.

        Raises:
            QueryFailed: The statement is refused: it does not read, the database does not
                understand it, or a param is missing or of a type that SQL does not have.
            CorruptData: With `decode`, a binary value is not what was written.
            StorageUnavailable: The database cannot be reached.
        """
        return query_frame(self._state.store, sql, params, {"experiment": self.name}, decode=decode)

    def df(self) -> pd.DataFrame:
        """Return the experiment's own fields as a frame; for those of the runs see `Runs.df`.

        Returns:
            A frame of one row. Columns: `id_experiment`, `name`, and one a field; all of dtype
            object, with the values as they are.
        """
        return own_fields_of(self.name, self.id_experiment, self.fields)

    def report(
        self,
        path: str | Path,
        *,
        metric: str | None = None,
        lower: bool | None = None,
        by: Sequence[str] | None = None,
        artifact: bool | str = False,
    ) -> Path:
        """Write the stored results into one HTML file, which needs no server, script or network.

        Args:
            path: The file, with the suffix ``.html``; one that there is, is replaced.
            metric: Name of the numeric field that decides. If None, a likely one.
            lower: Whether lower values of it are better. If None, its name tells.
            by: Params whose values make the groups. If None, all but seeds, folds and times.
            artifact: Whether an artifact of the current flow run leads to the file, or the URL by
                which people reach it.

        Returns:
            The file.

        Raises:
            ExperimentNotFound: The experiment has not been persisted.
            InvalidInput: There is no such metric or param, the file cannot be written, or an
                artifact is asked for where no flow runs.
        """
        from mltraq_prefect.reports.html.report import write_report

        path, study = path_of("path", path), self._study(metric, lower, by)
        if not isinstance(artifact, bool | str):
            raise InvalidInput(f"artifact is {artifact!r:.80}; use True, False or a URL")
        if artifact and not inside_run():
            raise InvalidInput("report: an artifact belongs to a flow run, and this is in no flow")
        file = write_report(study, path)
        if artifact:
            from mltraq_prefect.orchestration.api import link_report

            link = artifact if isinstance(artifact, str) else file.absolute().as_uri()
            link_report(self.name, self._state.store.table_of(self.name), link)
        return file

    def view(
        self,
        *,
        metric: str | None = None,
        lower: bool | None = None,
        by: Sequence[str] | None = None,
    ) -> View:
        """Return the stored results for a notebook, which shows them as `report` writes them.

        Args:
            metric: As for `report`.
            lower: As for `report`.
            by: As for `report`.

        Returns:
            What a notebook shows.

        Raises:
            ExperimentNotFound: The experiment has not been persisted.
            InvalidInput: There is no such metric or param.
        """
        from mltraq_prefect.reports.html.report import View

        return View(self._study(metric, lower, by))

    def _study(self, metric: str | None, lower: bool | None, by: Sequence[str] | None) -> Study:
        from mltraq_prefect.reports.study.study import Choice, Study

        if metric is not None:
            check_text("metric", metric, "the name of a numeric field, or None")
        if lower is not None:
            check_flags(lower=lower)
        groups = names_of("by", by)
        store = self._state.store
        try:
            store.require(self.name)
        except ExperimentNotFound as error:
            raise ExperimentNotFound(f"{error}; persist it, to show what is stored") from None
        results = store.results(self.name)
        return Study(results, Choice(metric, lower, None if groups is None else tuple(groups)))

    def links(self) -> pd.DataFrame:
        """Return the pages in the Prefect UI of the flow run and task run of each run and step.

        Returns:
            A frame with one row for each run and step, in the order of the runs. A run of which no
            step was executed has one row. Columns: `id_run`, `run` (its params), `step`,
            `flow_run` and `task_run` (URLs). A URL is None if no flow has executed the step, or if
            no Prefect server is configured.
        """
        return links_of(self.runs.values(), page_url)

    def info(self) -> pd.Series[Any]:
        """Return a summary of the experiment: names, counts, the table and its size.

        Returns:
            A series of dtype object: `name`, `id_experiment`, `fields` (keys of its own fields),
            counts of runs, `table_name`, `revision` (how often it was written; None if never) and
            `bytes` (size of its table and of its large values; None if not stored).
        """
        state = self._state
        stored = state.store.table_of(self.name), state.revision, state.store.size(self.name)
        return info_of(self.name, self.id_experiment, self.fields, self.runs.values(), *stored)
