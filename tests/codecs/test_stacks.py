"""What one pandas, NumPy and pyarrow wrote is read as another has it, or is refused by name."""

import base64
import json
from contextlib import suppress

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect import codecs
from tests.codecs.stacks import FOLDER, VALUES, AbsentError
from tests.values import assert_identical

WRITTEN = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("pandas-*.json"))}


def test_there_are_values_of_old_and_new_stacks():
    assert {name.partition(".")[0] for name in WRITTEN} == {"pandas-2", "pandas-3"}
    assert {name for values in WRITTEN.values() for name in values} == set(VALUES)


@pytest.mark.parametrize(
    ("stack", "name"), [(stack, name) for stack, values in WRITTEN.items() for name in values]
)
def test_a_value_of_another_stack_is_what_this_one_would_have_made(stack, name):
    data = base64.b64decode(WRITTEN[stack][name])
    try:
        expected = VALUES[name]()
    except AbsentError:
        with pytest.raises(mltraq.UnavailableType, match="pip install"):
            codecs.decode(data)
    else:
        assert_identical(codecs.decode(data), expected)


def test_values_of_this_stack_come_back_identical():
    for name, make in VALUES.items():
        with suppress(AbsentError):
            value = make()
            assert_identical(codecs.decode(codecs.encode(value)), value, name)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="nothing to take away")
def test_what_cannot_be_had_here_is_named_with_the_way_out(session, monkeypatch):
    experiment = session.add_experiment("e")
    experiment.add_runs(x=[1])
    for run in experiment.runs.values():
        run.fields.words = np.array(["a"], np.dtypes.StringDType())
    experiment.persist()
    monkeypatch.delattr(np.dtypes, "StringDType")
    with pytest.raises(mltraq.UnavailableType) as refused:
        session.load("e")
    assert str(refused.value).startswith("experiment 'e', run ")
    assert "field 'words' cannot be read here: an array of variable-width" in str(refused.value)
    assert str(refused.value).endswith('python -m pip install "numpy>=2.2.6"')
