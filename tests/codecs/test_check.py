"""A value is checked without being written: with the same verdict, and in the same words."""

import hypothesis
import numpy as np
import pytest

from mltraq_prefect import codecs
from mltraq_prefect.errors import InvalidName, UnsupportedType
from mltraq_prefect.storage.values.checks import FieldCheck
from tests.values import values


@hypothesis.given(values())
@hypothesis.settings(max_examples=50)
def test_what_can_be_written_passes(value):
    codecs.check(value)


@pytest.mark.parametrize("bad", [object(), [1, {"a": {object()}}], np.array([object()]), print])
def test_what_cannot_is_refused_in_the_same_words(bad):
    with pytest.raises(UnsupportedType) as written:
        codecs.encode(bad, path="fields.x")
    with pytest.raises(UnsupportedType) as checked:
        FieldCheck()({"a": 1, "x": bad})
    assert str(checked.value) == str(written.value)


def test_text_that_no_json_has_passes():
    FieldCheck()({"x": "\ud800", "y": ["\ud800"], "z": 2**100, "none": None})


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", 1])
def test_keys_are_checked_too(key):
    with pytest.raises(InvalidName, match="field key"):
        FieldCheck()({key: 1})
