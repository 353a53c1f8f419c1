"""Tables of runs: how they are made, changed, replaced and dropped.

Which tables are ours the index says alone: where it does not, a table of the same name is somebody
else's, and an error. Where each statement that changes a table commits, a table is filled under the
name of a helper, and takes its own once the index has its row; see `unfinished`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mltraq_prefect.errors import ForeignTable
from mltraq_prefect.storage.formats.schema import OF_EXPERIMENTS, create_table
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Right
from mltraq_prefect.storage.tables import attachments, experiments_table, files, unfinished, views
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.values.kinds import Kind
from mltraq_prefect.storage.values.layout import Column, Layout
from mltraq_prefect.storage.values.names import (
    helper_name,
    is_helper,
    key_name,
    series_of,
    table_name,
)
from mltraq_prefect.storage.values.placement import OF_RUNS


@dataclass(frozen=True, slots=True)
class Shape:
    """What a table of an experiment has beside the columns of its layout.

    Attributes:
        columns: Columns that it has in any case.
        key: The columns of its primary key.
        is_of_series: Whether it is a table of series, and not one of runs.
    """

    columns: Mapping[str, Kind]
    key: tuple[str, ...]
    is_of_series: bool = False


RUNS = Shape(OF_RUNS, ("id_run",))


def create(
    transaction: Transaction,
    owner: str,
    own: str,
    layout: Layout,
    shape: Shape = RUNS,
    *,
    late_key: bool = True,
) -> str:
    """Create a table of an experiment.

    Where a statement that changes a table commits, it has another name until it is complete.

    Args:
        transaction: Where.
        owner: The name of the table of the experiment's runs.
        own: The name that it shall have.
        layout: Its columns.
        shape: What else it has.
        late_key: Whether `add_key` follows when it has its rows.

    Returns:
        Its name.
    """
    dialect = transaction.dialect
    table = _noted(transaction, owner) if dialect.ddl_commits else own
    kinds = {column.name: column.kind for column in layout.values() if column.name}
    late = late_key and bool(dialect.late_key(table, "id_run"))
    create_table(
        transaction,
        table,
        {**shape.columns, **kinds},
        shape.key,
        options=dialect.series_options if shape.is_of_series else dialect.rewritten_options,
        late_key=late,
        key_name=key_name(own) if shape.is_of_series else "",
    )
    return table


def _noted(transaction: Transaction, own: str) -> str:
    """Return a new name for a helper table, which is written down."""
    name = helper_name()
    unfinished.note(transaction, own, name)
    return name


def succeed(
    transaction: Transaction, old: Entry, layout: Layout, shape: Shape = RUNS
) -> tuple[str, str | None]:
    """Make room for rows of another layout in the place of an experiment's.

    A table that stays has its rows still: `empty` comes after all that changes tables.

    Args:
        transaction: Where.
        old: The experiment; its table and layout are those that are replaced.
        layout: The new layout.
        shape: What else such a table has.

    Returns:
        The table for them, and the name that the one before will get if it stays until then.

    Raises:
        StoreError: Something of a user's would go.
    """
    dialect = transaction.dialect
    if old.layout == layout:
        return old.table, None
    if dialect.keeps_attached and _have_room(transaction, old, layout):
        reform(transaction, old, layout)
        return old.table, None
    attachments.refuse_dependents(transaction, old, "replaced by one with other columns")
    attachments.refuse_added(transaction, old, shape.columns)
    owner = table_name(old.name)
    if dialect.ddl_commits:
        return create(transaction, owner, old.table, layout, shape), _noted(transaction, owner)
    rights = dialect.rights(transaction.connection, old.table)
    drop(transaction, old.table)
    create(transaction, owner, old.table, layout, shape, late_key=False)
    left = {*shape.columns, *(column.name for column in layout.values())}
    for right in rights:
        if right.column is None or right.column in left:
            transaction.define(right.statement)
    return old.table, None


def _have_room(transaction: Transaction, old: Entry, layout: Layout) -> bool:
    """Whether a table takes the columns of another layout: those that were dropped count, too."""
    left = transaction.dialect.columns_left(transaction.connection, old.table)
    kept = {(column.name, column.kind) for column in old.layout.values()}
    return left >= sum((column.name, column.kind) not in kept for column in layout.values())


def refuse_foreign(transaction: Transaction, own: str, experiment: str) -> None:
    """Refuse to make a table where another one has its name that is not from this package.

    Raises:
        ForeignTable: There is a table, or something else of its name.
    """
    if transaction.has_table(own):
        raise ForeignTable(
            f"experiment {experiment!r} cannot be written: there is a table {own}, which is not "
            "from mltraq_prefect; rename that table, or give the experiment another name"
        )


def add_key(transaction: Transaction, table: str) -> None:
    """Make the key of a new table of runs, where it is faster to sort them than to insert."""
    statement = transaction.dialect.late_key(table, "id_run")
    if statement:
        transaction.run(statement)


def drop(transaction: Transaction, table: str) -> None:
    """Drop a table of runs, if it is there."""
    transaction.run(f"DROP TABLE IF EXISTS {transaction.quote(table)}")


def recover(transaction: Transaction, own: str, entry: Entry | None) -> Entry | None:
    """Finish, or undo, what a writer of an experiment has begun before it was killed."""
    if not transaction.dialect.ddl_commits:
        return entry
    if entry is not None and entry.is_staged:
        entry = settle(transaction, entry)
    elif entry is not None and unfinished.is_noted(transaction, own):
        entry = _with_view(transaction, entry, released=())
    unfinished.undo(transaction, own, _columns_of(own, entry))
    return entry


def _columns_of(own: str, entry: Entry | None) -> dict[str, set[str]]:
    """Return which columns of fields, and of series, the tables of an experiment have."""
    layouts = ({}, {}) if entry is None else (entry.layout, entry.series or {})
    names = [{str(column.name) for column in layout.values()} for layout in layouts]
    return dict(zip((own, series_of(own)), names, strict=True))


def settle(transaction: Transaction, entry: Entry) -> Entry:
    """Give a staged table its own name, in the place of the one that it replaces.

    Each statement but the update commits. Killed between any two, the entry still leads to the
    new rows, and the next writer goes on from there.
    """
    own, quote = table_name(entry.name), transaction.quote
    if not entry.is_renamed:
        moves = _moves(transaction, entry, entry.table, own, entry.retired)
        if len(moves) > 1:
            views.narrow(transaction, entry, transaction.columns(own))
        series = (entry.series_table, series_of(own), entry.series_retired)
        moves += _moves(transaction, entry, *series)
        names = [(quote(old), quote(new)) for old, new in moves]
        for statement in transaction.dialect.rename(names):
            transaction.run(statement)
    settled = replace(entry, table=own, retired=None, is_renamed=False)
    settled = replace(settled, series_table=series_of(own), series_retired=None)
    return _with_view(transaction, settled)


def _with_view(
    transaction: Transaction, entry: Entry, released: Sequence[Right] | None = None
) -> Entry:
    """Make the view of an experiment as its entry says, and write down that it has it."""
    entry.view = views.make(transaction, entry, released)
    experiments_table.update(transaction, entry)
    return entry


def _moves(
    transaction: Transaction, entry: Entry, now: str, own: str, retired: str | None
) -> list[tuple[str, str]]:
    """Return old and new names: those of a table that is staged, and of one that it replaces."""
    if now == own:
        return []
    moves = [(now, own)]
    if transaction.has_table(own):
        if retired is None and is_helper(now):
            refuse_foreign(transaction, own, entry.name)
        # Format 1 did not write down what it was about to make.
        moves.insert(0, (own, retired or _noted(transaction, table_name(entry.name))))
    return moves


def set_aside(transaction: Transaction, entry: Entry) -> Entry:
    """Give the tables of an experiment that is going to be deleted, or renamed, helpers' names.

    Whoever may not drop it may not rename it either: then nothing has been deleted.

    Returns:
        The entry, which leads to them.
    """
    own, quote = entry.table, transaction.quote
    aside = replace(entry, table=_noted(transaction, own), view=None)
    moves = [(own, aside.table)]
    if entry.series is not None:
        aside.series_table = _noted(transaction, own)
        moves.append((entry.series_table, aside.series_table))
    experiments_table.update(transaction, aside)
    views.drop(transaction, entry)
    for statement in transaction.dialect.rename([(quote(old), quote(new)) for old, new in moves]):
        transaction.run(statement)
    return aside


def delete(transaction: Transaction, entry: Entry) -> None:
    """Delete an experiment, all of it.

    Raises:
        StoreError: Something of a user's hangs on its tables.
    """
    for one in (entry, entry.of_series())[: 1 if entry.series is None else 2]:
        attachments.refuse_dependents(transaction, one, "deleted")
    own = entry.table
    if transaction.dialect.ddl_commits:
        set_aside(transaction, entry)
        clear(transaction, entry)
        unfinished.undo(transaction, own, {})  # which commits first
    else:
        clear(transaction, entry)
        views.drop(transaction, entry)
        drop(transaction, own)
        if entry.series is not None:
            drop(transaction, entry.series_table)


def clear(transaction: Transaction, entry: Entry) -> None:
    """Delete everything of an experiment but the tables of its runs and series."""
    files.delete_all(transaction, entry.id_experiment)
    for table in OF_EXPERIMENTS:
        transaction.run(f"DELETE FROM {table} WHERE id_experiment = ?", (entry.id_experiment,))


def empty(transaction: Transaction, table: str) -> None:
    """Delete the rows of a table; readers of an older state keep seeing them."""
    transaction.run(f"DELETE FROM {transaction.quote(table)}")


def reshape(transaction: Transaction, owner: str, table: str, old: Layout, new: Layout) -> None:
    """Add the columns that a layout has gained.

    Args:
        transaction: Where.
        owner: The name of the table of the experiment's runs.
        table: The table.
        old: Its layout.
        new: The layout that it shall have.
    """
    if old == new:
        return
    added = {
        key: column
        for key, column in new.items()
        if column.name and key not in _keys_with_column(old)
    }
    _make_room(transaction, owner, table, [str(column.name) for column in added.values()])
    for column in added.values():
        _add(transaction, table, column)


def _keys_with_column(layout: Layout) -> set[str]:
    return {key for key, column in layout.items() if column.name is not None}


def _make_room(
    transaction: Transaction,
    owner: str,
    table: str,
    names: Sequence[str],
    going: Collection[str] = (),
) -> None:
    """Refuse columns that somebody else has added; write down those that we are going to."""
    if not names:
        return
    present = {name.lower(): name for name in transaction.columns(table) if name not in going}
    for name in names:
        if name.lower() in present:
            raise ForeignTable(
                f"the table {table} has a column {present[name.lower()]!r} that is not from "
                "mltraq_prefect; rename that column, or the field"
            )
    if transaction.dialect.ddl_commits:
        unfinished.note(transaction, owner, table, names)


def reform(transaction: Transaction, entry: Entry, new: Layout) -> None:
    """Empty a table and give it the columns of another layout: views and rights stay.

    Raises:
        StoreError: A view hangs on a column that would go.
    """
    table, quote = entry.table, transaction.quote
    old = {str(column.name): column for column in entry.layout.values() if column.name}
    wanted = {str(column.name): column for column in new.values() if column.name}
    going = {name for name in old if name not in wanted or wanted[name].kind != old[name].kind}
    attachments.refuse_dependents(transaction, entry, "replaced by one with other columns", going)
    empty(transaction, table)
    changes = [f"DROP COLUMN {quote(name)}" for name in sorted(going)]
    added = [name for name in wanted if name not in old]
    _make_room(transaction, table_name(entry.name), table, added, going)
    changes += [
        f"ADD COLUMN {quote(name)} {transaction.dialect.types[column.kind].sql}"
        for name, column in wanted.items()
        if name in going or name not in old
    ]
    if changes:
        transaction.run(f"ALTER TABLE {quote(table)} {', '.join(changes)}")


def _add(transaction: Transaction, table: str, column: Column) -> None:
    quote, type_ = transaction.quote, transaction.dialect.types[column.kind].sql
    transaction.run(f"ALTER TABLE {quote(table)} ADD COLUMN {quote(str(column.name))} {type_}")
