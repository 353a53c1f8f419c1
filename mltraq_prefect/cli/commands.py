"""How a command is made of a function: the options that many commands share, output, errors.

A function that takes a `Target` gets the options that say which database, and one that returns a
`Table` those that say how it is printed.
"""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from mltraq_prefect.cli.output import Format, Table, show
from mltraq_prefect.cli.target import BLOCK, DATABASE, Target
from mltraq_prefect.errors import MltraqError

PROGRAM = "mltraq-prefect"

INTERRUPTED = 130
"""The exit status that shells give to a program that Ctrl-C has ended."""

JSON = Annotated[bool, typer.Option("--json", help="Print JSON: an array with an object a row.")]
CSV = Annotated[bool, typer.Option("--csv", help="Print CSV, with a line of names.")]

_TARGET: Mapping[str, Any] = {"database": DATABASE, "block": BLOCK}
_FORMAT: Mapping[str, Any] = {"json": JSON, "csv": CSV}
_DEFAULTS: Mapping[str, Any] = {"database": None, "block": None, "json": False, "csv": False}

Body = Callable[..., Table | str]
"""What a command does: returns what is printed."""


def group(callback: Callable[..., None]) -> typer.Typer:
    """Return the program, which commands are added to."""
    app = typer.Typer(
        name=PROGRAM,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )
    app.callback()(callback)
    return app


def add(app: typer.Typer, name: str, body: Body, *examples: str) -> None:
    """Add a command.

    Args:
        app: The program.
        name: Name of the command.
        body: What it does. Its docstring is the help of the command.
        *examples: What a user may type after the name of the program, for the help.
    """
    lines = "\n".join(f"  {PROGRAM} {example}" for example in examples)
    epilog = f"\b\nExamples:\n{lines}" if examples else None
    app.command(name, epilog=epilog, help=inspect.getdoc(body))(_command(body))


def _command(body: Body) -> Callable[..., None]:
    """Return the function that typer takes: with the shared options among its own."""
    hints = get_type_hints(body, include_extras=True)
    returned = hints.pop("return")
    wants_target = next((name for name, hint in hints.items() if hint is Target), None)
    shared = {**(_TARGET if wants_target else {}), **(_FORMAT if returned is Table else {})}

    def run(context: typer.Context, **values: Any) -> None:
        options = {name: values.pop(name) for name in shared}
        form = _form(options.pop("json", False), options.pop("csv", False))
        if wants_target:
            values[wants_target] = Target(**options).or_else(context.obj)
        try:
            _tell(body(**values), form)
        except MltraqError as error:
            _end(1, f"{type(error).__name__}: {error}")
        except KeyboardInterrupt:
            _end(INTERRUPTED, "interrupted; what was written before stays")

    own = [p for p in inspect.signature(body).parameters.values() if p.name != wants_target]
    _sign(run, own, hints, shared)
    return run


def _sign(
    run: Callable[..., None],
    own: Sequence[inspect.Parameter],
    hints: Mapping[str, Any],
    shared: Mapping[str, Any],
) -> None:
    """Give the function the signature that typer reads."""
    kind = inspect.Parameter.KEYWORD_ONLY
    params = [
        inspect.Parameter("context", kind, annotation=typer.Context),
        *(p.replace(kind=kind, annotation=hints[p.name]) for p in own),
        *(
            inspect.Parameter(name, kind, default=_DEFAULTS[name], annotation=hint)
            for name, hint in shared.items()
        ),
    ]
    run.__signature__ = inspect.Signature(params)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in params}


def _form(as_json: bool, as_csv: bool) -> Format:
    if as_json and as_csv:
        raise typer.BadParameter("give one of --json and --csv")
    return "json" if as_json else "csv" if as_csv else "table"


def _end(status: int, why: str) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(status) from None


def _tell(said: Table | str, form: Format) -> None:
    try:
        if isinstance(said, str):
            typer.echo(said)
        else:
            show(said, form)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # whoever reads it has enough
    except OSError as error:
        sys.stdout = io.StringIO()  # or Python writes the rest as it ends, and fails again
        _end(1, f"the output cannot be written: {error.strerror}")
    if isinstance(said, Table) and said.status:
        raise typer.Exit(said.status)
