"""What a merge has to write: the runs and cells that are not in the database as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mltraq_prefect.model.run import Run
from mltraq_prefect.storage.records import LedgerMark, Seen, Snapshot
from mltraq_prefect.storage.tables.ledger_columns import steps_of
from mltraq_prefect.storage.writing.write_plan import Plan


@dataclass(slots=True)
class Changes:
    """Which runs of a plan are to be written, by index.

    Attributes:
        new: Runs that the database does not have.
        cells: Runs of which it has other values, by the keys of those fields.
        ledger: The ledger marks that those runs, or their ledger rows alone, shall have.
        steps: Completed steps that the database did not list for a run that is written.
        entries: Names of the steps whose entries are to be written, by index of the run.
        kept: Runs whose ledger rows stay as they are, but for the residual.
        outdated: Runs that stay as they are, as others have executed anew what came before.
    """

    new: list[int] = field(default_factory=list)
    cells: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    ledger: dict[int, LedgerMark] = field(default_factory=dict)
    steps: dict[str, None] = field(default_factory=dict)
    entries: dict[int, list[str]] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    outdated: list[int] = field(default_factory=list)

    def indexes(self) -> list[int]:
        """Return the indexes of runs that the database has and that change."""
        return [index for indexes in self.cells.values() for index in indexes]


def find_changes(
    plan: Plan,
    stored: Mapping[str, LedgerMark],
    snapshot: Snapshot | None,
    fresh: Mapping[str, Seen],
) -> Changes:
    """Compare a plan with what the database holds.

    Args:
        plan: What shall be there.
        stored: Ledger marks of the runs of the plan that are there.
        snapshot: What was there of the runs when they were read.
        fresh: What is there now of those that were not read: a field that such a run does not
            have is left alone, where one that was read and is gone is deleted.
    """
    changes = Changes()
    for index, (run, seen) in enumerate(zip(plan.record.runs, plan.part().all_seen(), strict=True)):
        now = stored.get(run.id_run)
        if now is None:
            changes.new.append(index)
            changes.steps.update(dict.fromkeys(run.ledger.steps))
            continue
        read = None if snapshot is None else snapshot.runs.get(run.id_run)
        if read is None:
            keys = tuple(_set(plan, run, seen, fresh[run.id_run]))
            mark = _of_fresh(seen.ledger, now, changed=bool(keys))
        elif _is_outdated(seen.ledger, read.ledger, now):
            changes.outdated.append(index)
            continue
        else:
            keys = tuple(_changed(plan, run, seen, read))
            mark = _of_read(seen.ledger, read.ledger, now)
        again = mark == now and _has_failed_again(run, seen, now, read)
        if keys or mark != now or again:
            changes.cells.setdefault(keys, []).append(index)
            changes.ledger[index] = mark
            _note_steps(changes, mark, now)
            if mark.state == "pending":
                changes.kept.add(index)
            elif mark != now or again:
                changes.entries[index] = _differing(run, mark, now)
            elif read is not None and seen.ledger == read.ledger:
                _note_repetition(changes, index, run, seen.duration_s != read.duration_s)
    return changes


def _has_failed_again(run: Run, seen: Seen, now: LedgerMark, read: Seen | None) -> bool:
    """Return whether a run was executed again and has failed in the same way."""
    mine = seen.ledger
    if mine.state != "failed" or (mine.step, mine.error) != (now.step, now.error):
        return False
    if read is None:
        return run.ledger.id_execution is not None
    return seen.duration_s != read.duration_s


def _changed(plan: Plan, run: Run, seen: Seen, before: Seen) -> Iterator[str]:
    """Yield the keys of fields whose values differ, deleted ones included."""
    if seen.fields == before.fields and seen.marks == before.marks:
        return
    old = dict(zip(before.fields, before.marks, strict=True))
    for key, mark in zip(seen.fields, seen.marks, strict=True):
        if mark != old.get(key) and plan.differs(run, key, mark, old.get(key)):
            yield key


def _set(plan: Plan, run: Run, seen: Seen, before: Seen) -> Iterator[str]:
    """Yield the keys of fields whose values differ and are there."""
    old = dict(zip(before.fields, before.marks, strict=True))
    for key, mark in zip(seen.fields, seen.marks, strict=True):
        if mark is not None and plan.differs(run, key, mark, old.get(key)):
            yield key


def _is_outdated(mine: LedgerMark, read: LedgerMark, now: LedgerMark) -> bool:
    """Return whether a run was executed here on results that others have replaced meanwhile."""
    if mine == read or now == read or mine.state == "pending":
        return False
    ours, base, theirs = (steps_of(mark.steps) for mark in (mine, read, now))
    used = [step for step, print_ in base.items() if ours.get(step) == print_]
    return any(theirs.get(step) != base[step] for step in used)


def _of_read(mine: LedgerMark, read: LedgerMark, now: LedgerMark) -> LedgerMark:
    """Merge three ways: what somebody else has completed since the run was read stays.

    Unless it was made of results that are replaced now.
    """
    if mine == read or mine.state == "pending":
        return now
    if now == read:
        return mine
    ours, base, theirs = (steps_of(mark.steps) for mark in (mine, read, now))
    replaced = any(ours.get(step) not in (base[step], theirs.get(step)) for step in base)
    kept = {
        step: print_
        for step, print_ in theirs.items()
        if step in ours or (step not in base and not replaced)
    }
    return mine._replace(steps=json.dumps({**kept, **ours}, ensure_ascii=False))


def _of_fresh(mine: LedgerMark, now: LedgerMark, *, changed: bool) -> LedgerMark:
    """Keep the stored row if the run was not executed, or not with another outcome."""
    ours = steps_of(mine.steps)
    idle = mine.state == "pending" and mine.error is None and not ours
    if idle:
        return now
    same = (mine.state, mine.error) == (now.state, now.error)
    if same and not changed and ours.items() <= steps_of(now.steps).items():
        return now
    return mine


def _note_steps(changes: Changes, mark: LedgerMark, now: LedgerMark) -> None:
    if mark.steps != now.steps:
        before = steps_of(now.steps)
        added = [step for step in steps_of(mark.steps) if step not in before]
        changes.steps.update(dict.fromkeys(added))


def _note_repetition(changes: Changes, index: int, run: Run, is_repeated: bool) -> None:
    """Note what is to be written of a run that came to the same, if it was executed again."""
    if is_repeated:
        steps = run.ledger.steps
        changes.entries[index] = [step for step in run.ledger.executed if step in steps]
    else:
        changes.kept.add(index)


def _differing(run: Run, mark: LedgerMark, now: LedgerMark) -> list[str]:
    """Return the steps whose entries in a run and in the database differ.

    Marks do not list what a run that has failed has tried: the step that has failed may be another
    one than that to be tried next, and those between them have lost their results.
    """
    ours, theirs = steps_of(mark.steps), steps_of(now.steps)
    names = [step for step in {**theirs, **ours} if ours.get(step) != theirs.get(step)]
    if mark.step is not None:
        names.append(mark.step)
    if mark.state in ("failed", "stopped"):
        names += [step for step in run.ledger.executed if step not in ours]
    return list(dict.fromkeys(names))
