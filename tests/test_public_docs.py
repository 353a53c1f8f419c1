"""Public docstrings are complete, say nothing of what is not there, and their examples run."""

import ast
import doctest
import importlib
import inspect
import re
import textwrap

import pytest

import mltraq_prefect
from mltraq_prefect.storage.sql.dialects import Dialect

NAMES = [*mltraq_prefect.__all__, "ExperimentStore"]
PUBLIC = {name: getattr(mltraq_prefect, name) for name in NAMES}
DOCUMENTED_BY_PREFECT = {"ExperimentStore"}
"""Pydantic models: their constructors take fields, which Prefect documents by their titles."""


def is_ours(value):
    return str(getattr(value, "__module__", "")).startswith("mltraq_prefect.")


def _members(value):
    """Return the attributes of a class, with those of our own classes that it is made of."""
    bases = [base for base in reversed(value.__mro__) if is_ours(base)]
    return {name: member for base in bases for name, member in vars(base).items()}


def callables():
    """Yield a name and a function, class or property for everything that is public."""
    for name, value in PUBLIC.items():
        yield name, value
        if not inspect.isclass(value):
            continue
        for attribute, member in _members(value).items():
            function = getattr(member, "__func__", member)
            if attribute.startswith("_"):
                continue
            if inspect.isfunction(function) and is_ours(function):
                yield f"{name}.{attribute}", function
            elif isinstance(member, property):
                yield f"{name}.{attribute}", member.fget


MEMBERS = dict(callables())


def sections(value):
    """Return the sections of a Google docstring by their titles, with the names of their items."""
    found, title = {}, None
    for line in (inspect.getdoc(value) or "").splitlines():
        if match := re.fullmatch(r"(Args|Attributes|Raises|Returns|Yields|Examples):", line):
            title = match[1]
            found[title] = []
        elif line and not line.startswith(" "):
            title = None
        elif title and (match := re.match(r"    \*{0,2}(\w[\w., ]*?)(?: \([^)]*\))?: ", line)):
            found[title] += re.split(r", ", match[1])
    return found


def params_of(value):
    if inspect.isclass(value):
        if value.__init__ in (object.__init__, Exception.__init__, dict.__init__):
            return []
        if not is_ours(value.__init__) or value.__name__ in DOCUMENTED_BY_PREFECT:
            return []
        value = value.__init__
    return [name for name in inspect.signature(value).parameters if name not in ("self", "cls")]


def test_there_is_something_to_check():
    assert {"Session.ls", "Experiment.execute", "Run.rng", "create_session"} <= set(MEMBERS)


@pytest.mark.parametrize("name", MEMBERS)
def test_it_has_a_docstring_of_its_own(name):
    value = MEMBERS[name]
    assert value.__doc__, name
    assert value.__doc__.splitlines()[0].endswith("."), name
    assert "Example:" not in value.__doc__, "the documentation's site knows Examples"


@pytest.mark.parametrize("name", MEMBERS)
def test_every_parameter_is_documented_and_no_other(name):
    value = MEMBERS[name]
    found = sections(value)
    documented = found.get("Args", [])
    if value is PUBLIC["Experiment"]:
        return  # made by sessions alone
    if inspect.isclass(value):  # a dataclass has attributes of the names of its parameters
        bases = [sections(base) for base in value.__mro__ if is_ours(base)]
        documented = [
            name
            for base in bases
            for title in ("Args", "Attributes")
            for name in base.get(title, [])
        ]
    params = params_of(value)
    assert set(params) <= set(documented)
    assert set(found.get("Args", [])) <= set(params)


@pytest.mark.parametrize("name", MEMBERS)
def test_what_it_returns_is_told(name):
    value = MEMBERS[name]
    if inspect.isclass(value) or ("." in name and isinstance(_member(name), property)):
        return
    returned = str(inspect.signature(value).return_annotation)
    summary, found = (inspect.getdoc(value) or "").splitlines()[0], sections(value)
    if "Iterator" in returned:
        assert "Yields" in found
    elif returned not in ("None", "NoReturn"):
        assert "Returns" in found or "return" in summary.lower()


@pytest.mark.parametrize("name", MEMBERS)
def test_every_error_that_it_raises_itself_is_told(name):
    value = MEMBERS[name]
    if inspect.isclass(value):
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
    }
    assert raised <= set(sections(value).get("Raises", []))


def test_every_column_of_ls_is_told(session):
    docstring = inspect.getdoc(mltraq_prefect.Session.ls)
    assert [name for name in session.ls().columns if f"`{name}`" not in docstring] == []


def test_every_attribute_of_a_run_is_told():
    attributes = {name.lstrip("_") for name in mltraq_prefect.Run.__slots__}
    internal = {"source", "step", "rng", "log", "own_rows"}
    assert attributes - internal == set(sections(mltraq_prefect.Run)["Attributes"])


DIALECT_METHODS = {
    name: member
    for name, member in vars(Dialect).items()
    if inspect.isfunction(member) and not name.startswith("_")
}


def test_every_attribute_of_a_dialect_is_told():
    attributes = {name for name in Dialect.__annotations__ if not name.startswith("_")}
    assert attributes == set(sections(Dialect)["Attributes"])


@pytest.mark.parametrize("name", DIALECT_METHODS)
def test_every_method_of_a_dialect_is_told(name):
    """The class documents the parameters that methods share."""
    method = DIALECT_METHODS[name]
    shared = inspect.getdoc(Dialect).partition("The methods share these arguments:\n")[2]
    documented = set(re.findall(r"^    (\w+): ", shared, re.M))
    assert set(params_of(method)) <= documented | set(sections(method).get("Args", []))
    returned = str(inspect.signature(method).return_annotation)
    if returned != "None":
        assert "return" in inspect.getdoc(method).lower()


MODULES = sorted({value.__module__ for value in PUBLIC.values()} | {"mltraq_prefect"})


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, monkeypatch):
    monkeypatch.delenv("MLTRAQ_DATABASE_URL", raising=False)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    failed, _ = doctest.testmod(
        importlib.import_module(module), extraglobs=dict(PUBLIC), optionflags=flags
    )
    assert failed == 0


def test_the_facade_has_examples():
    for name in ("Session", "Experiment", "Run", "Runs", "Namespace", "create_session"):
        assert doctest.DocTestFinder(recurse=False).find(PUBLIC[name])[0].examples, name


def _member(name):
    owner, _, attribute = name.partition(".")
    return _members(PUBLIC[owner])[attribute]
