"""What the package exports, and what importing it costs."""

import subprocess
import sys

import mltraq_prefect


def test_exported_members_are_these_and_sorted():
    assert mltraq_prefect.__all__ == sorted(mltraq_prefect.__all__)
    public = {name for name in vars(mltraq_prefect) if not name.startswith("_")}
    modules = {name for name in public if f"mltraq_prefect.{name}" in sys.modules}
    assert public - modules == set(mltraq_prefect.__all__)


def test_every_error_is_exported():
    from mltraq_prefect import errors

    kinds = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert kinds <= set(mltraq_prefect.__all__)


def test_the_import_is_light():
    heavy = ("prefect", "pandas", "pyarrow", "loky", "sklearn")
    code = f"import mltraq_prefect, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
