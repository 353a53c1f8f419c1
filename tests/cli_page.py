"""The page of the command line, made of what its `--help` says: ``python -m tests.cli_page``."""

import re
from pathlib import Path

import typer

from mltraq_prefect.cli import app

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

_SHARED = ("help", "database", "block", "json", "csv")
"""Options that the beginning of the page tells of."""

_HEAD = """# The command line

This page is made of what `--help` says, by `python -m tests.cli_page`.

`mltraq-prefect` reads and keeps in order what is in a database of experiments. Which database:
`--database URL`, before or after the command; else the environment variable
`MLTRAQ_DATABASE_URL`; or `--block NAME`, a Prefect block that holds the URL, so that no password
is in the list of processes. Reading never makes a file.

A terminal shows tables, in short: eight digits of a number, or of the id of a run. A pipe gets
columns of text, with all digits, or JSON with `--json`, CSV with `--csv`. There bytes are
hexadecimal digits, NaN is null. Times are UTC. The exit status is 0, or 1 after an error, which is
one line on stderr, or 2 if the command line cannot be understood.
`mltraq-prefect --install-completion` lets the shell complete commands, options and names of
experiments of `MLTRAQ_DATABASE_URL`. What destroys asks first; `--yes` answers, and without a
terminal it is needed.
"""


def page():
    """Return the text of the page."""
    commands = typer.main.get_command(app).commands
    return "\n".join([_HEAD, *(_section(name, commands[name]) for name in commands)])


def _section(name, command):
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name not in _SHARED]
    usage = " ".join(["mltraq-prefect", name, *(_argument(p) for p in arguments)])
    rows = [(f"`{p.metavar}`", p.help) for p in arguments]
    rows += [(_option(p), p.help) for p in options]
    parts = [f"## {name}\n\n{_flowing(command.help)}\n"]
    if arguments:
        parts.append(f"    {usage}\n")
    if rows:
        lines = "\n".join(f"| {left} | {right} |" for left, right in rows)
        parts.append(f"| argument or option | |\n|---|---|\n{lines}\n")
    if command.epilog:
        examples = command.epilog.split("Examples:\n")[1]
        parts.append("```sh\n" + re.sub(r"^  ", "", examples, flags=re.M) + "\n```\n")
    return "\n".join(parts)


def _argument(param):
    return param.metavar if param.required else f"[{param.metavar}]"


def _option(param):
    value = "" if getattr(param, "is_flag", False) else f" {param.metavar}"
    return "`" + "`, `".join(param.opts) + value.replace("|", "\\|") + "`"


def _flowing(text):
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


if __name__ == "__main__":
    PAGE.write_text(page())
