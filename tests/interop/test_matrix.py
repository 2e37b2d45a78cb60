"""Rows that one framework writes are read by the others, on every backend."""

from uuid import uuid4

import pytest

from ragbridge import SimilarityMetric, where
from ragbridge.stores.memory import InMemoryVectorStore
from sides import SIDES, Row

ROWS = [
    Row("a", "first text", (1.0, 0.0, 0.0), "d1", {"n": 1, "kind": "odd", "tags": ["x", "y"]}),
    Row("b", "second\ntext é👍", (0.9, 0.1, 0.0), "d1", {"n": 2, "kind": "even", "id": "mine"}),
    Row("c", "third text", (0.0, 1.0, 0.0), "d2", {"n": 3, "text": None, "a b": {"deep": [1]}}),
    Row("d d", "fourth text", (0.0, 0.0, 1.0), None, {"naïve": True, "n": 2**53 + 1}),
]
IDS = [row.id for row in ROWS]
FILTERS = {
    "equal": (where("kind") == "odd", {"a"}),
    "not equal": (where("kind") != "odd", {"b", "c", "d d"}),
    "ordered": ((where("n") > 1) & (where("n") <= 3), {"b", "c"}),
    "a large number": (where("n") == 2**53 + 1, {"d d"}),
    "in": (where("kind").in_(["odd", "even"]), {"a", "b"}),
    "not in": (where("kind").not_in(["odd"]), {"b", "c", "d d"}),
    "contains": (where("tags").contains("x"), {"a"}),
    "either": ((where("n") == 1) | (where("id") == "mine"), {"a", "b"}),
    "neither": (~((where("n") == 1) | (where("id") == "mine")), {"c", "d d"}),
}
ALL = list(SIDES)


@pytest.fixture
def open_store(backend, store_name):
    """A function that opens the same rows each time; on Milvus by a store of its own."""
    name, opened = f"interop_{uuid4().hex}", []

    def open_one():
        if not opened or store_name != "memory":
            options = {} if store_name == "memory" else {"collection_name": name}
            opened.append(backend.new_store(metric=SimilarityMetric.COSINE, **options))
        return opened[-1]

    yield open_one
    for store in opened[1:]:
        store.close()
    backend.remove(opened[0])


@pytest.fixture
def open_side(open_store):
    """A function that opens one framework's view of the rows."""
    return lambda name: SIDES[name](open_store())


@pytest.fixture
def writer(open_side, request):
    return open_side(request.param)


@pytest.fixture
def reader(open_side, request):
    return open_side(request.param)


def every_pair(test):
    test = pytest.mark.parametrize("reader", ALL, indirect=True)(test)
    return pytest.mark.parametrize("writer", ALL, indirect=True)(test)


def seen_by(side, ids):
    return [side.seen(native) for native in side.read(ids)]


@every_pair
def test_rows_are_read_as_they_were_written(writer, reader):
    natives = [writer.native(row) for row in ROWS]
    writer.write(natives)
    assert seen_by(reader, IDS) == [row.seen_through(writer, reader) for row in ROWS]
    assert seen_by(writer, IDS) == [row.seen_through(writer) for row in ROWS]
    assert reader.find((1.0, 0.0, 0.0), k=2) == ["a", "b"]
    for name, (condition, wanted) in FILTERS.items():
        found = reader.find((1.0, 0.0, 0.0), condition)
        assert set(found) == wanted == set(writer.find((1.0, 0.0, 0.0), condition)), name


@every_pair
def test_what_the_other_does_is_seen(writer, reader):
    writer.write([writer.native(row) for row in ROWS])
    assert len(reader.read(IDS)) == len(ROWS)
    changed = Row("b", "another text", (0.0, 0.0, 1.0), "d9", {"kind": "new"})
    reader.write([reader.native(changed)])
    reader.delete(ROWS[0])
    others = [row.seen_through(writer) for row in ROWS[2:]]
    assert seen_by(writer, IDS) == [changed.seen_through(writer, reader), *others]
    others = [row.seen_through(writer, reader) for row in ROWS[2:]]
    assert seen_by(reader, IDS) == [changed.seen_through(reader), *others]
    assert writer.find((1.0, 0.0, 0.0), where("kind") == "new") == ["b"]
    assert writer.find((1.0, 0.0, 0.0), where("kind") == "even") == []


@pytest.mark.parametrize("writer", ["langchain", "llama_index"], indirect=True)
def test_natives_come_back_equal(writer):
    natives = [writer.native(row) for row in ROWS]
    writer.write(natives)
    got = writer.read(IDS)
    for one, other in zip(got, natives, strict=True):
        if hasattr(other, "embedding"):
            assert one.embedding is None or one.embedding == pytest.approx(other.embedding)
            one, other = (each.model_copy(update={"embedding": None}) for each in (one, other))
        assert one == other


@pytest.mark.stores("memory")
def test_a_row_that_another_framework_replaces_is_replaced_whole(store_name):
    store = InMemoryVectorStore()
    llama_index, langchain = SIDES["llama_index"](store), SIDES["langchain"](store)
    llama_index.write([llama_index.native(ROWS[0])])
    assert store.get(["a"])[0].framework_data
    langchain.write([langchain.native(ROWS[0])])
    assert store.get(["a"])[0].framework_data == {}
