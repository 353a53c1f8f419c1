"""Any non-empty text is a name, and no two names meet."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltraq_prefect.storage.names import column_name, table_name
from tests.contract.records import assert_same_runs, make_record, make_run

HOSTILE = [
    *(
        "a b",
        "A-B",
        "a_b",
        "a",
        "A",
        "é",
        "É",
        "e\u0301",
        "日本",
        "😀",
        "K",
        "\u212a",
        "ß",
        "ss",
        "İ",
    ),
    *("x" * 200, "x" * 199 + "y", "x" * 5000, "1", "1a", "-", "_", "__", "\u202e", "\u200b"),
    *("ctid", "xmin", "id_run", "ID_RUN", "rowid", "select", "order", "table", "NULL", "new"),
    *("a'b", 'a"b', "a`b", "a;DROP TABLE experiments;--", "%s", "%", ":x", "{x}", "\\", ".", "[a]"),
    *("a.b", " ", "a ", " a", "\n", "a\tb", "experiments", "position"),
    *("a_x0123456789ab", "x0123456789ab"),
]


def unicode_names():
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
    return text | st.text("aA_ -é", min_size=1, max_size=5) | st.sampled_from(HOSTILE)


def test_hostile_names_of_experiments(store):
    for i, name in enumerate(HOSTILE):
        store.write(make_record(name, runs=[make_run(i, n=i)]), "fail")
    assert sorted(row["name"] for row in store.ls()) == sorted(HOSTILE)
    for i, name in enumerate(HOSTILE):
        assert [run.fields["n"] for run in store.read(name).runs] == [i]
        _, rows = store.query("SELECT n FROM {e}", names={"e": name})
        assert rows == [(i,)]
    store.delete("a b")
    assert len(store.ls()) == len(HOSTILE) - 1


def test_hostile_keys_of_fields(store):
    run = make_run(0, **{key: i for i, key in enumerate(HOSTILE)})
    store.write(make_record(runs=[run], fields=dict.fromkeys(HOSTILE, 1)), "fail")
    found = store.read("coin toss")
    assert_same_runs(found.runs, [run])
    assert found.fields == dict.fromkeys(HOSTILE, 1)
    part = store.read("coin toss", columns=["A", " "])
    part.runs[0].fields.update({"A": 0.5, "neu": "x", "NEU": "y"})
    store.write(part, "merge")
    run.fields.update({"A": 0.5, "neu": "x", "NEU": "y"})
    assert_same_runs(store.read("coin toss").runs, [run])


def test_hostile_names_of_params(store):
    run = make_run(0, params={key: (i,) for i, key in enumerate(HOSTILE)})
    store.write(make_record(runs=[run]), "fail")
    assert_same_runs(store.read("coin toss").runs, [run])


@settings(max_examples=10, deadline=None)
@given(names=st.lists(unicode_names(), min_size=100, max_size=100, unique=True))
def test_physical_names_are_portable_and_differ(names):
    """1,000 hostile names; tables and columns are compared as the least careful database does."""
    tables = [table_name(name) for name in names]
    assert len({table.lower() for table in tables}) == len(names)
    taken = {"id_run"}
    for name in names:
        column = column_name(name, taken)
        assert column.lower() not in taken
        taken.add(column.lower())
        for physical, prefix in ((table_name(name), "e_"), (column, "")):
            assert physical.isascii()
            assert physical.startswith(prefix)
            assert physical.replace("_", "a").isalnum()
            assert len(physical) <= 60


@pytest.mark.parametrize("name", ["coin_toss", "a", "iris2", "2024_01"])
def test_portable_names_are_their_own(name):
    assert table_name(name) == f"e_{name}"


@pytest.mark.parametrize("key", ["n", "N", "error", "trainLoss", "F1", "_x", "order"])
def test_portable_keys_are_their_own(key):
    assert column_name(key, {"id_run", "other"}) == key
