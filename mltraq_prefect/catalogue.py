"""What a session lists and keeps in order of what is stored, without loading it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mltraq_prefect.arguments import check_flags, check_text
from mltraq_prefect.checkpoints.selection import as_pending
from mltraq_prefect.model.advance import unseen
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.maintenance import retention, slots
from mltraq_prefect.storage.reading import listing
from mltraq_prefect.storage.records import LISTED

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.execution.steps import StepFunction


class Catalogue:
    """The part of `Session` that is about experiments as a whole."""

    _store: Store

    def ls(
        self,
        *,
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        pending: str | StepFunction | None = None,
        failed: bool = False,
    ) -> pd.DataFrame:
        """List the experiments of the database.

        Args:
            where: A condition about the columns below, in the SQL of SQLite whatever the database
                is; `tags` is JSON there. ``:x`` stands for the param `x`.
            params: Values of the params, by name.
            tags: Only experiments that have all of these tags.
            pending: A step, or its name: lists only experiments with runs that `load` returns for
                the same `pending`.
            failed: Whether runs that have failed in the step `pending` count as well.

        Returns:
            A frame with one row an experiment, by name. Columns:

            - `name`, `id_experiment` (text): identify the experiment;
            - `table_name` (text): the table of its runs;
            - `runs`, `completed`, `failed`, `stopped`, `pending` (int): number of runs, in all and
                by state;
            - `fields` (int): number of fields of its runs;
            - `revision` (int): how often it was written;
            - `created_at`, `updated_at` (datetime, UTC): first and last write;
            - `tags` (dict), `note` (text): what people say of it;
            - `bytes` (int or None): size of its table, large values and files. SQLite estimates it
                by some rows, and MariaDB by its statistics, as PostgreSQL does for more than 100
                experiments: they may lag behind.

        Raises:
            InvalidInput: The arguments exclude each other, or `where` is no condition.
            FieldNotFound: The list has no column that `where` names.
            QueryFailed: SQLite does not understand `where`, or a param is missing.
            StorageUnavailable: The database cannot be reached.

        Examples:
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("squares").add_runs(x=[1, 2]).persist()
            >>> session.ls(where="runs > 1")[["name", "runs", "pending"]].values.tolist()
            [['squares', 2, 2]]
        """
        import pandas as pd

        rows = self._store.ls(pending=as_pending(pending, failed))
        rows = listing.chosen(rows, where, params, tags)
        found = pd.DataFrame(rows, columns=list(LISTED))
        for name in ("created_at", "updated_at"):
            moments = pd.to_datetime(found[name], format="ISO8601", utc=True)
            found[name] = moments.astype("datetime64[us, UTC]")
        return found

    def tag(
        self, name: str, tags: Mapping[str, str | None] | None = None, note: str | None = None
    ) -> None:
        """Change tags and note of a stored experiment, without loading it.

        Args:
            name: Name of the experiment.
            tags: New tags by name; None removes one. Others stay.
            note: The new note, or an empty text; None leaves it.

        Raises:
            ExperimentNotFound: The database has no experiment of this name.
            InvalidInput: A tag or the note is no text, or too long; nothing was changed.
            StoreError: The database cannot be written; it is as it was before.

        Examples:
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("squares").persist()
            >>> session.tag("squares", {"team": "maths"})
            >>> session.ls(tags={"team": "maths"})["name"].tolist()
            ['squares']
        """
        self._store.annotate(name, {} if tags is None else tags, note)

    def prune(
        self,
        name: str | None = None,
        keep: str | datetime.timedelta | None = None,
        *,
        slots: int | None = None,
        slot: str = "slot",
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> int:
        """Delete old runs of an experiment, with all that belongs to them.

        Some runs go in each transaction, so that writers do not wait long; killed in between, the
        rest stays. By `keep`, runs that have not begun yet, or are pending again, are not old; a
        slot goes with all of its runs. Contents of files that killed processes have left behind
        go as well: in the location of files, and in the folder for temporary files.

        Args:
            name: Name of the experiment; None deletes no runs, only what was left behind.
            keep: How long runs are kept after they began: ``"30 days"``, in seconds, minutes,
                hours, days or weeks; or a timedelta.
            slots: How many of the latest values of the param `slot` are kept instead, or as well.
            slot: Name of the param that tells slots of a schedule apart.
            where: A condition in SQL that runs must meet as well, as for
                `Experiment.delete_runs`.
            params: Values of the params of the condition, by name.

        Returns:
            How many runs were deleted.

        Raises:
            ExperimentNotFound: The database has no experiment of this name.
            FieldNotFound: Its runs have no param `slot`.
            InvalidInput: Nothing says what is kept, or something else than can be said.
            QueryFailed: The database does not understand the condition; nothing was deleted.
            StoreError: The database cannot be written.

        Examples:
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("tosses").add_runs(slot=range(10)).persist()
            >>> session.prune("tosses", slots=4)
            6
        """
        check_text("slot", slot, "the name of a param")
        if name is None:
            retention.refuse_options(keep, slots, where, params)
            number = 0
        else:
            old = retention.old(keep, slots, slot, where, params)
            number = self._store.prune(name, old, unseen)
        self._store.remove_leftovers()
        return number

    def claims(self, name: str) -> pd.DataFrame:
        """List the processes that execute an experiment together: ``execute(..., shared=True)``.

        Args:
            name: Name of the experiment.

        Returns:
            A frame with one row a process, those that began first come first; none if nobody
            executes the experiment so. Columns:

            - `worker` (text): host and id of the process;
            - `flow_run_id` (text or None): its flow run;
            - `workers` (int): how many runs it executes at the same time;
            - `runs` (int): runs that it has taken and not ended;
            - `completed`, `failed` (int): runs that it has ended since it takes part;
            - `since`, `until` (datetime, UTC, by the clock of the database): when it began, and
              when its lease runs out unless it is renewed;
            - `is_live` (bool): whether the lease has not run out. If it has, the process is dead or
              cut off, and the others take its runs.

        Raises:
            ExperimentNotFound: The database has no experiment of this name.
            StorageUnavailable: The database cannot be reached.

        Examples:
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("squares").add_runs(x=[1, 2]).persist()
            >>> len(session.claims("squares"))
            0
        """
        import pandas as pd

        from mltraq_prefect.storage.membership import CLAIM_COLUMNS

        rows = [listed.row() for listed in self._store.claims(name)]
        return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))

    def missing_slots(
        self,
        name: str,
        every: str | datetime.timedelta | Iterable[datetime.datetime],
        *,
        offset: str | datetime.timedelta | None = None,
        since: str | datetime.timedelta | datetime.datetime | None = None,
        slot: str = "slot",
        latest: bool = False,
    ) -> list[datetime.datetime]:
        """List the slots of a schedule that are due, and were not executed, or not to the end.

        A slot is a param that holds the time for which a flow run was scheduled. One whose flow
        run was lost has no runs; one whose flow run was killed has some that are pending. Failed
        runs are executed.

        Args:
            name: Name of the experiment; of one that is not there all slots are missing.
            every: The interval of the schedule, such as ``"1 hour"``: slots are its multiples in
                UTC. Or the slots that were due; those of the future do not count.
            offset: How much later than these multiples slots are: ``"30 minutes"``.
            since: The first slot that counts, or how long ago it was: ``"7 days"``. The first one
                that is stored if None.
            slot: Name of the param.
            latest: Whether the latest slot counts, whose own flow run may still be executing it.

        Returns:
            The slots in order, in UTC, as which they have to be params, too.

        Raises:
            FieldNotFound: Runs have no param `slot`.
            InvalidInput: An argument cannot be used, or the values of `slot` are no times.

        Examples:
            >>> from datetime import datetime, timedelta, UTC
            >>> hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
            >>> slots = [hour - n * timedelta(hours=1) for n in (3, 1)]
            >>> session = create_session("sqlite://")
            >>> tosses = session.add_experiment("tosses").add_runs(slot=slots)
            >>> _ = tosses.execute(lambda run: None, backend="local").persist()
            >>> session.missing_slots("tosses", "1 hour") == [hour - timedelta(hours=2)]
            True
        """
        check_text("slot", slot, "the name of a param")
        check_flags(latest=latest)
        wanted = slots.due(every, offset, since, latest=latest)
        return self._store.missing_slots(name, slot, wanted)

    def verify(self, name: str | None = None, *, repair: bool = False) -> pd.DataFrame:
        """Read every cell, some runs at a time, and say what is corrupt or belongs to nothing.

        Args:
            name: Name of an experiment; None for all, and for what belongs to none.
            repair: Whether counts and standings of runs are made anew where they are wrong, as
                after somebody's ``DELETE`` or ``UPDATE``. Nothing else is changed.

        Returns:
            A frame with a row for each problem. Columns: `experiment`, `run` (id of the run, or of
            one of them), `field`, `problem` (what is wrong, and what to do), `is_mended`. It is
            empty if nothing is wrong.

        Raises:
            ExperimentNotFound: The database has no experiment of this name.
            StorageUnavailable: The database cannot be reached.

        Examples:
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("squares").add_runs(x=[1, 2]).persist()
            >>> len(session.verify())
            0
        """
        check_flags(repair=repair)
        import pandas as pd

        from mltraq_prefect.storage.verifying import Problem, verify

        found = verify(self._store, name, repair=repair, advance=unseen)
        return pd.DataFrame([*found], columns=list(Problem.__slots__))
