"""Every supported value comes back identical."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mltraq_prefect import codecs
from tests import values

STRATEGIES = {
    "python scalars": values.python_scalars(),
    "numpy scalars": values.numpy_scalars(),
    "pandas scalars": values.pandas_scalars(),
    "arrays": values.arrays(),
    "arrays of strings": values.string_arrays(),
    "pandas arrays": values.leaves(),
    "series": values.series(),
    "frames": values.frames(),
    "nested": values.values(),
    "json": values.json_values(),
}


@pytest.mark.parametrize("name", [name for name in STRATEGIES if not STRATEGIES[name].is_empty])
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=st.data(), compress=st.booleans())
def test_what_is_encoded_comes_back_identical(name: str, drawn: Any, compress: bool) -> None:
    value = drawn.draw(STRATEGIES[name])
    data = codecs.encode(value)
    values.assert_identical(value, codecs.decode(codecs.squeezed(data) if compress else data))
