"""Compression, by field or for all: smaller on the way in, the same on the way out."""

import numpy as np
import pytest

from mltraq_prefect import InvalidInput, codecs, create_session
from mltraq_prefect.storage import Store
from tests.contract.records import make_record, make_run

ZEROS = np.zeros(1_000)


def record():
    return make_record(runs=[make_run(0, a=ZEROS, b=ZEROS, small=1)])


def size(store, column):
    return store.query(f"SELECT length({column}) FROM {{e}}", names={"e": "coin toss"})[1][0][0]


def test_chosen_fields_are_compressed(url):
    store = Store(url, compress=["a"])
    store.write(record(), "fail")
    assert size(store, "a") < 1_000 < 8_000 < size(store, "b")
    (run,) = store.read("coin toss").runs
    np.testing.assert_array_equal(run["a"], ZEROS)
    np.testing.assert_array_equal(run["b"], ZEROS)
    assert run["small"] == 1
    store.close()


def test_what_is_stored_is_not_written_again_only_to_compress_it(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    for compress in (False, True, ["b"]):
        store = Store(url, compress=compress)
        written = store.write(record(), "merge")
        assert written.changed == (compress is False)
        loaded = store.read("coin toss")
        assert not store.write(loaded, "merge").changed
        store.close()


def test_squeezed_bytes_expand_to_what_they_were():
    data = codecs.encode(ZEROS)
    assert len(codecs.squeezed(data)) < len(data) / 8
    assert codecs.expanded(codecs.squeezed(data)) == data == codecs.expanded(data)
    assert codecs.squeezed(codecs.encode(5)) == codecs.encode(5)
    assert codecs.expanded(b"x" * 100) == b"x" * 100


def test_a_field_key_alone_is_no_list_of_them():
    with pytest.raises(InvalidInput, match="compress is 'predictions'; give a list"):
        create_session(compress="predictions")
