"""Filters over rows of other tools, which have no shadow keys, mean what `matches()` says."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreign_layouts import MADE, Made, langchain_declared, open_made
from ragbridge._twins import run
from ragbridge.documents import TextChunk
from ragbridge.filters import MetadataFilter, MetadataFilters, matches, where
from ragbridge.stores._requests import Selection
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.milvus.capabilities import LITE
from ragbridge.stores.milvus.collection import compile_in
from ragbridge.testing import FILTER_TABLES
from ragbridge.testing._strategies import filters, metadata

pytestmark = [pytest.mark.stores("milvus-lite", "milvus"), pytest.mark.usefixtures("few_examples")]

EAST = [1.0, 0.0, 0.0, 0.0]
NUMBERS = count(1)
DECLARED = Made(langchain_declared, "langchain-milvus")


@pytest.fixture(scope="module", params=MADE)
def opened(request, milvus_uri):
    with open_made(MADE[request.param], milvus_uri) as store:
        yield MADE[request.param], store


def put(made, store, rows):
    """Replace all rows by those with this metadata; their names by id."""
    store.clear()
    names = {str(next(NUMBERS)): name for name in rows}
    store.add(
        [
            VectorEntry(
                id=row_id, embedding=EAST, chunk=TextChunk(content="x", metadata=rows[name])
            )
            for row_id, name in names.items()
        ]
    )
    return names


def found(store, condition, names):
    """The names of the rows that are selected, by every way of asking."""
    query = VectorStoreQuery(embedding=EAST, filters=condition, top_k=len(names))
    every = VectorStoreQuery(embedding=EAST, filters=condition, top_k=-1)
    answers = [
        store.query(query),
        store.query(every),
        store.query(VectorStoreQuery(filters=condition, top_k=-1)),
        list(store.scan(condition, include_embeddings=False)),
    ]
    sets = [{names[row.id] for row in answer} for answer in answers]
    assert all(each == sets[0] for each in sets), f"{condition!r}: {sets}"
    assert store.count(condition) == len(sets[0]), condition
    return sets[0]


@pytest.mark.parametrize("table", FILTER_TABLES, ids=lambda table: table.name)
def test_tables(opened, table):
    made, store = opened
    rows = {name: made.fitting(data) for name, data in table.rows.items()}
    names = put(made, store, rows)
    wrong = []
    for condition, wanted in table.cases:
        if rows != table.rows:
            wanted = {name for name, data in rows.items() if matches(condition, data)}
        if (selected := found(store, condition, names)) != wanted:
            wrong.append(f"{condition!r}: {selected}, wanted {wanted}")
    assert not wrong, "\n".join(wrong)


def test_random_filters(opened):
    made, store = opened

    @given(st.lists(metadata(), min_size=1, max_size=10), st.lists(filters(), max_size=10))
    def check(stored, asked):
        rows = {str(n): made.fitting(data) for n, data in enumerate(stored)}
        names = put(made, store, rows)
        for condition in asked:
            wanted = {name for name, data in rows.items() if matches(condition, data)}
            assert found(store, condition, names) == wanted, condition

    check()


def test_random_deletes(opened):
    made, store = opened

    @given(st.lists(metadata(), min_size=1, max_size=10), filters())
    def check(stored, condition):
        rows = {str(n): made.fitting(data) for n, data in enumerate(stored)}
        names = put(made, store, rows)
        doomed = {name for name, data in rows.items() if matches(condition, data)}
        assert store.delete_by_filter(condition, ids=list(names)) == len(doomed)
        assert {names[row.id] for row in store.scan()} == rows.keys() - doomed

    check()


def test_a_filter_that_leaves_few_of_many_rows(opened):
    made, store = opened
    rows = {f"r{n}": {"n": n, "kind": "rare" if n % 97 == 0 else "common"} for n in range(1500)}
    names = put(made, store, rows)
    for condition in (where("kind") == "rare", where("kind") != "common", where("n") >= 1484):
        wanted = {name for name, data in rows.items() if matches(condition, data)}
        query = VectorStoreQuery(embedding=EAST, filters=condition, top_k=5)
        assert len({names[row.id] for row in store.query(query)} & wanted) == 5
        assert found(store, condition, names) == wanted


# Declared fields: the engine decides alone


VALUES = {
    "s": st.sampled_from(["", "a", "A", "ab", "b%", "a_b", "\u00e9", "\U0001f44d", "1", "true"])
    | st.text(max_size=4),
    "i": st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63) + 1])
    | st.integers(-3, 3),
    "f": st.sampled_from([0.0, 1.0, 1.5, -0.5, 2.0**53, 2.0**63, 1e300, -1e300, 5e-324]),
    "b": st.booleans(),
    "small": st.integers(-128, 127),
}
NULLABLE = {"null_VARCHAR": "s", "null_INT64": "i", "null_DOUBLE": "f", "null_BOOL": "b"}


def declared_rows(*, with_nulls):
    fixed = VALUES | {"j": metadata()}
    optional = {name: VALUES[kind] for name, kind in NULLABLE.items()} if with_nulls else {}
    return st.lists(st.fixed_dictionaries(fixed, optional=optional), min_size=1, max_size=10)


def declared_filters(names):
    """Filters as they are drawn everywhere, over these keys."""

    def renamed(condition):
        if isinstance(condition, MetadataFilters):
            return MetadataFilters([*map(renamed, condition.filters)], condition.condition)
        place = sum(map(ord, "".join(condition.path))) % len(names)
        rest = condition.path[1:] if names[place] == "j" else ()
        return MetadataFilter((names[place], *rest), condition.operator, condition.value)

    return filters().map(renamed)


def test_random_filters_on_declared_fields(milvus_uri, store_name):
    with_nulls = store_name == "milvus-lite"
    names = [*VALUES, "j", "unknown", *(NULLABLE if with_nulls else ())]

    with open_made(DECLARED, milvus_uri) as store:

        @settings(max_examples=3 * settings().max_examples)
        @given(declared_rows(with_nulls=with_nulls), st.lists(declared_filters(names), max_size=20))
        def check(stored, asked):
            rows = {str(n): data for n, data in enumerate(stored)}
            kept = put(DECLARED, store, rows)
            for condition in asked:
                wanted = {name for name, data in rows.items() if matches(condition, data)}
                assert found(store, condition, kept) == wanted, condition

        check()


@pytest.mark.parametrize(
    "condition",
    [where("j") == 0, where("j") > 1, where("j").in_([1, "a"]), where("j").contains("a")],
)
def test_json_fields_are_compared_as_a_whole(milvus_uri, condition):
    with open_made(DECLARED, milvus_uri) as store:
        rows = {"0": dict.fromkeys(("i", "f", "small"), 0) | {"s": "", "b": True, "j": {"a": 1}}}
        kept = put(DECLARED, store, rows)
        assert found(store, condition, kept) == set()
        assert found(store, ~condition, kept) == {"0"}


@pytest.mark.parametrize(
    "condition",
    [
        where("s") == "a",
        where("s") != "a",
        ~(where("i") < 3),
        where("f").in_([1.5, 2]),
        where("s").text_match("ab") | (where("b") != True),  # noqa: E712
        where("small") >= 1000,
        where("unknown") == 1,
    ],
)
def test_the_engine_decides_alone_on_declared_fields(milvus_uri, store_name, condition):
    if store_name == "milvus":
        return  # which has no infix LIKE; the answers are compared above
    with open_made(DECLARED, milvus_uri) as store:
        layout = run(store._collection.open())
        assert compile_in(layout, Selection(condition), LITE).is_exact
