"""Commands that change what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mltraq_prefect.cli.asking import YES, confirm
from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table
from mltraq_prefect.cli.progress import progress
from mltraq_prefect.cli.reading import PARAMS, parsed, split
from mltraq_prefect.cli.target import NAME, Target, names
from mltraq_prefect.errors import ExperimentExists
from mltraq_prefect.texts import counted

if TYPE_CHECKING:
    from mltraq_prefect.storage import Store


WHERE = Annotated[
    str | None,
    typer.Option(metavar="SQL", help="Only runs of this condition about the view's columns."),
]


class IfExists(StrEnum):
    """What to do with an experiment that is there."""

    FAIL = "fail"
    REPLACE = "replace"
    MERGE = "merge"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "rename", _rename, "rename digits digits-2026")
    add(app, "tag", _tag, "tag digits team=vision", "tag digits --remove team --note 'lr too high'")
    add(app, "delete", _delete, "delete digits", "delete digits --where 'lr > :lr' --param lr=1")
    add(
        app,
        "prune",
        _prune,
        "prune tosses --keep '30 days'",
        "prune tosses --slots 100 --where \"state = 'completed'\" --yes",
        "prune",
    )
    add(
        app,
        "copy",
        _copy,
        "copy sqlite:///backup.db",
        "copy --to-block team",
        "copy sqlite:///backup.db digits --if-exists merge",
    )


def _rename(
    target: Target,
    name: NAME,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name that it gets.")],
) -> str:
    """Rename an experiment, and its table with it; runs keep their ids."""
    with target.store() as store:
        store.rename(name, new)
        return f"renamed experiment {name!r} to {new!r}; its table is {store.table_of(new)}"


def _tag(
    target: Target,
    name: NAME,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="TAG=TEXT...", help="Tags to set.")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="A tag to remove; may be given several times."),
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The new note; an empty text removes it.")
    ] = None,
) -> Table:
    """Change tags and note of an experiment, and print what it has then."""
    changes = {**dict.fromkeys(remove or ()), **split(tags or ())}
    with target.store() as store:
        said = store.annotate(name, changes, note)
    rows = [*sorted(said.tags.items()), *([("note", said.note)] if said.note else [])]
    return Table(["tag", "text"], rows)


def _delete(
    target: Target, name: NAME, where: WHERE = None, param: PARAMS = None, yes: YES = False
) -> str:
    """Delete an experiment with all of its runs, or only some of its runs."""
    if where is not None:
        return _delete_runs(target, name, where, parsed(param or ()), yes=yes)
    if param:
        raise typer.BadParameter("--param is of no use without --where")
    with target.store() as store:
        store.require(name)
        (listed,) = (row for row in store.ls() if row["name"] == name)
        runs = counted(listed["runs"], "run")
        confirm(f"delete experiment {name!r} with its {runs}", yes=yes)
        store.delete(name)
    return f"deleted experiment {name!r} with its {runs}"


def _delete_runs(
    target: Target, name: str, where: str, params: Mapping[str, Any], *, yes: bool
) -> str:
    from mltraq_prefect.storage.maintenance.deleting import Condition

    condition = Condition(where, params)
    with target.store() as store:
        found = store.count_runs(name, condition)
        if found:
            confirm(f"delete {counted(found, 'run')} of experiment {name!r}", yes=yes)
        gone = store.delete_runs(name, condition) if found else ()
    return f"deleted {counted(len(gone), 'run')} of experiment {name!r}"


def _prune(
    target: Target,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Name of the experiment; else no runs go.", autocompletion=names
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long runs are kept after they began: '30 days'."),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="How many of the latest slots are kept."),
    ] = None,
    slot: Annotated[
        str, typer.Option(metavar="PARAM", help="Name of the param that tells slots apart.")
    ] = "slot",
    where: WHERE = None,
    param: PARAMS = None,
    yes: YES = False,
) -> str:
    """Delete old runs of an experiment, and contents of files that killed processes have left.

    By time runs that are pending are not old, by slot all runs are.
    """
    from mltraq_prefect.storage.maintenance import retention

    if name is None:
        retention.refuse_options(keep, slots, where, param)
        with target.store() as store, progress("remove contents") as advance:
            gone = store.remove_leftovers(advance)
        return f"removed {counted(gone, 'content')} of files that no run has"
    old = retention.old(keep, slots, slot, where, parsed(param or ()))
    with target.store() as store:
        found = store.count_old(name, old)
        gone = 0
        if found:
            confirm(f"delete {counted(found, 'old run')} of experiment {name!r}", yes=yes)
            with progress(f"prune {name}") as advance:
                gone = store.prune(name, old, advance)
        store.remove_leftovers()
    return f"deleted {counted(gone, 'run')} of experiment {name!r}"


def _copy(
    target: Target,
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="SQLAlchemy URL of the other database.")
    ] = None,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Experiments; all if none.")
    ] = None,
    to_block: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Prefect block that holds the URL; URL is left out."),
    ] = None,
    if_exists: Annotated[
        IfExists,
        typer.Option(
            metavar="fail|replace|merge",
            help="What to do with an experiment that the other database has.",
        ),
    ] = IfExists.FAIL,
) -> str:
    """Copy experiments to another database.

    One of up to 10,000 runs, and 32 MiB, is written in one transaction; of a larger one, so many
    runs each time. If that ends early, --if-exists merge copies the rest; --if-exists replace is
    done with the first runs. The other database is made if it is a file that is not there.
    """
    from mltraq_prefect.storage import copying

    if to_block is not None and url is not None:
        names, url = [url, *(names or ())], None
    if url is None and to_block is None:
        raise typer.BadParameter("give URL, or --to-block")
    with target.store() as source:
        source.require(*(names or ()))  # before anything is copied
        chosen = list(dict.fromkeys(names or source.names()))
        with Target(url, to_block).store(create=True) as other:
            _refuse_taken(other, chosen, if_exists)
            done, total = 0, sum(map(source.run_count, chosen))
            with progress("copy runs") as advance:

                def copied(count: int) -> None:
                    nonlocal done
                    done += count
                    advance(done, max(done, total))

                copied(0)
                for name in chosen:
                    copying.copy(source, other, name, if_exists.value, copied)
    return f"copied {len(chosen):,} experiment{'s' * (len(chosen) != 1)}"


def _refuse_taken(other: Store, names: Sequence[str], if_exists: IfExists) -> None:
    there = set(other.names()) if if_exists == IfExists.FAIL else set()
    if taken := [name for name in names if name in there]:
        raise ExperimentExists(
            f"the other database has {', '.join(map(repr, taken[:3]))} already; nothing was "
            "copied; give --if-exists merge, which adds to it, or --if-exists replace"
        )
