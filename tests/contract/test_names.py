"""Any non-empty text is a name, and no two names meet."""

import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltraq_prefect.storage.values.names import column_name, table_name
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


MANY = 1000
ALPHABETS = (
    "abcABC019_",
    " \t\n\r\x0b\x7f\x85\xa0\u2028\u200b\u202e\ufeff",
    "'\"`;:%\\.,[](){}<>?*#@!$^&|~/+=-",
    "éÉàßİ\u0131Łø\u017f\u212aÅ",
    "\u0301\u0308\u20dd\u0345",
    "日本語漢字ひらがな한글العربيةעברית",
    "😀🏽\u200d👩🚀\U0010ffff\U000e0001",
)
FRAGMENTS = (
    *("'; DROP TABLE experiments; --", '" OR 1=1 --', "` UNION SELECT 1", "/* x */", "%s%(x)s"),
    *(":n", "{e}", "${x}", "\\'", "e_", "new_", "old_", "_x0123456789ab", "SELECT", "NULL"),
)


def many_names(seed, longest=60):
    """Return 1,000 hostile names: of each alphabet, long and short, and near twins of others."""
    chance = random.Random(seed)
    names = dict.fromkeys(HOSTILE)
    while len(names) < MANY:
        alphabets = chance.sample(ALPHABETS, chance.randint(1, 3))
        length = chance.choice((1, 2, 3, 5, 8, longest))
        parts = [chance.choice(chance.choice(alphabets)) for _ in range(length)]
        if chance.random() < 0.2:
            parts.insert(chance.randrange(length + 1), chance.choice(FRAGMENTS))
        name = "".join(parts)
        twins = name.upper(), name.lower(), f"{name} ", unicodedata.normalize("NFD", name)
        names |= dict.fromkeys((name, chance.choice(twins)))
    return list(names)[:MANY]


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


def test_a_thousand_experiments_are_told_apart(store, url):
    names = many_names("experiments", longest=300)
    for number, name in enumerate(names):
        store.write(make_record(name, runs=[make_run(number, n=number)]), "fail")
    assert sorted(row["name"] for row in store.ls()) == sorted(names)
    for first in range(0, MANY, 100):
        tables = {f"e{i}": name for i, name in enumerate(names[first : first + 100])}
        selects = (f"SELECT {first} + {key[1:]} AS place, n FROM {{{key}}}" for key in tables)
        _, rows = store.query(" UNION ALL ".join(selects), names=tables)
        assert sorted(rows) == [(i, i) for i in range(first, first + 100)]
    read = names if url == "sqlite://" else names[::7]  # on servers each takes some statements
    for name in read:
        (run,) = store.read(name).runs
        number = names.index(name)
        assert (run.fields["n"], run.params["N"]) == (number, number)


@pytest.mark.parametrize("part", range(5))
def test_a_thousand_keys_are_told_apart(store, part):
    """In tables of 200, so that each has a column of its own on every backend."""
    keys = many_names("fields")[part * 200 : part * 200 + 200]
    fields = {key: (number, f"text {number}")[number % 2] for number, key in enumerate(keys)}
    params = {key: str(number) for number, key in enumerate(keys)}
    run = make_run(0, params=params, **fields)
    store.write(make_record(runs=[run]), "fail")
    assert_same_runs(store.read("coin toss").runs, [run])
    (columns, _) = store.query("SELECT * FROM {e}", names={"e": "coin toss"})
    assert len(columns) == 201
    some = store.read("coin toss", columns=keys[::7])
    assert some.runs[0].fields == {key: fields[key] for key in keys[::7]}
    some.runs[0].fields[keys[7]] = run.fields[keys[7]] = "changed"
    assert store.write(some, "merge").columns == [keys[7]]
    assert_same_runs(store.read("coin toss").runs, [run])


@pytest.mark.parametrize("key", ["id_run", "ID_RUN", "id_experiment", "ctid", "rowid", "position"])
def test_reserved_keys_work(store, key):
    record = make_record(runs=[make_run(i, **{key: f"mine {i}"}) for i in range(3)])
    store.write(record, "fail")
    found = store.read("coin toss", columns=[key])
    assert_same_runs(found.runs, record.runs)
    found.runs[1].fields[key] = record.runs[1].fields[key] = "other"
    store.write(found, "merge")
    assert_same_runs(store.read("coin toss").runs, record.runs)


def test_hostile_names_of_params(store):
    run = make_run(0, params={key: (i,) for i, key in enumerate(HOSTILE)})
    store.write(make_record(runs=[run]), "fail")
    assert_same_runs(store.read("coin toss").runs, [run])


@settings(max_examples=10)
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
