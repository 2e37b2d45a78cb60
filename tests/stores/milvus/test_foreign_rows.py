"""Collections of other tools: recognised, read, written to as those tools would, and kept as they are."""

import pickle
from dataclasses import replace

import pytest
from pymilvus import DataType, MilvusClient

from engine_calls import record_calls, written_data
from foreign_layouts import MADE, ROOMY, open_made
from ragbridge.documents import Chunk, TextChunk
from ragbridge.errors import (
    EntryNotFoundError,
    InvalidConfigError,
    InvalidDocumentError,
    VectorStoreError,
)
from ragbridge.filters import where
from ragbridge.stores import create_vector_store
from ragbridge.stores.base import SimilarityMetric, VectorEntry, VectorStoreQuery
from ragbridge.stores.milvus import CollectionLayout, MilvusVectorStore
from ragbridge.testing import VectorStoreConformance

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

EAST, NORTH = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]
METADATA = {"s": "text", "i": 1, "f": 1.0, "t": True, "l": [1, "a", None], "o": {"x": {"y": 2}}}


@pytest.fixture(scope="module")
def roomy(milvus_uri):
    """The name of a collection that the whole suite shares."""
    with open_made(MADE["roomy"], milvus_uri) as store:
        yield store.collection_name


class TestAllThatAStoreIs(VectorStoreConformance):
    """A layout with a place for everything serves everything."""

    @pytest.fixture
    def vector_store(self, roomy, milvus_uri, few_examples):
        with MilvusVectorStore.open(roomy, uri=milvus_uri, layout=ROOMY) as store:
            store.clear()
            yield store


@pytest.fixture
def make(milvus_uri):
    """A function that gives a store on a new collection of a kind."""
    opened = []

    def make(kind, **options):
        opened.append(open_made(MADE[kind], milvus_uri, **options))
        return opened[-1].__enter__()

    yield make
    for each in reversed(opened):
        each.__exit__(None, None, None)


@pytest.fixture
def client(milvus_uri):
    client = MilvusClient(milvus_uri)
    yield client
    client.close()


def entry(row_id="1", embedding=EAST, metadata=None, **chunk):
    chunk = {"content": "some text", **chunk}
    return VectorEntry(
        id=row_id, embedding=embedding, chunk=TextChunk(metadata=metadata or {}, **chunk)
    )


def raw(client, store, row_id=1):
    """A row as it lies there."""
    client.load_collection(store.collection_name)
    found = client.get(store.collection_name, [row_id], consistency_level="Strong")
    return dict(found[0])


@pytest.mark.parametrize("kind", MADE)
def test_layouts_are_recognised(make, kind):
    store, made = make(kind), MADE[kind]
    assert store.layout.tool == made.tool
    assert store.metric is SimilarityMetric.COSINE
    assert store.count() == 0
    assert store.query(VectorStoreQuery(embedding=EAST)) == []


@pytest.mark.parametrize("kind", MADE)
def test_rows_come_back(make, kind):
    store = make(kind)
    rows = [entry("1", metadata=METADATA), entry("-2", NORTH, {"n": None}, content="\u00e9 '\"\\")]
    assert store.add(rows) == ["1", "-2"]
    assert store.get(["-2", "nobody", "1", "01"]) == [rows[1], rows[0]]
    assert {row.id: row for row in store.scan()} == {row.id: row for row in rows}
    assert store.query(VectorStoreQuery(embedding=EAST, top_k=1))[0].chunk == rows[0].chunk
    store.add([entry("1", NORTH, {"new": 1})])
    assert store.get(["1"]) == [entry("1", NORTH, {"new": 1})]
    assert store.count(ids=["1", "nobody", "7"]) == 1
    with pytest.raises(EntryNotFoundError, match="nobody"):
        store.delete(["1", "nobody"], missing_ok=False)
    store.delete(["1", "nobody"])
    assert [row.id for row in store.scan()] == ["-2"]
    (new_id,) = store.add([entry(None)])
    assert store.get([new_id])[0].id == new_id
    assert store.delete_by_filter(ids=[new_id, "nobody"]) == 1


@pytest.mark.parametrize("kind", ["langchain-json", "rocketride"])
@pytest.mark.parametrize(
    ("metric", "score"), [("euclidean", 1 / (1 + 2**0.5)), ("dot_product", 0.0), ("cosine", 0.0)]
)
def test_scores_are_those_of_the_real_metric(make, kind, metric, score):
    store = make(kind, metric=metric)
    store.add([entry("1"), entry("2", NORTH)])
    assert store.metric == metric
    found = {
        match.id: match.similarity_score for match in store.query(VectorStoreQuery(embedding=EAST))
    }
    assert found["1"] == pytest.approx(1.0)
    assert found["2"] == pytest.approx(score)


async def test_async_twins(make):
    store = make("ballerina")
    ids = await store.aadd([entry(None, metadata={"n": n}) for n in range(5)])
    assert len({int(row_id) for row_id in ids}) == 5
    query = VectorStoreQuery(embedding=EAST, filters=where("n") > 2)
    assert {match.id for match in await store.aquery(query)} == set(ids[3:])
    assert await store.acount(where("n") != 2) == 4
    assert [row.id async for row in store.ascan(where("n") == 1)] == [ids[1]]
    await store.adelete(ids[0])
    assert {row.id for row in await store.aget(ids)} == set(ids[1:])


def test_rows_that_pymilvus_packs_are_written_1000_at_once(make, monkeypatch):
    store, calls = make("ballerina"), record_calls(monkeypatch)
    ids = store.add([entry(None, metadata={"n": n}) for n in range(2001)])
    assert [*map(len, written_data(calls))] == [1000, 1000, 1]
    assert store.count() == len({*ids}) == 2001


# What other tools find in rows that were added


def test_rocketride_finds_its_meta(make, client):
    store = make("rocketride")
    chunk = {"document_id": "o'1", "index": 7}
    hidden = entry("2", metadata={"nodeId": "n"}, **chunk)
    store.add(
        [
            entry("1", metadata={"nodeId": "n"}, **chunk),
            VectorEntry(id="2", embedding=EAST, chunk=hidden.chunk, deleted=True),
        ]
    )
    meta = {"nodeId": "n", "objectId": "o'1", "chunkId": 7}
    assert raw(client, store)["meta"] == meta | {"isDeleted": False}
    assert raw(client, store, 2)["meta"] == meta | {"isDeleted": True}
    seen = client.query(
        store.collection_name,
        filter="meta['objectId'] == 'o\\'1' and meta['isDeleted'] == False and meta['chunkId'] >= 7",
        output_fields=["id"],
        consistency_level="Strong",
    )
    assert [row["id"] for row in seen] == [1]
    assert store.get(["1"])[0].chunk == entry("1", metadata={"nodeId": "n"}, **chunk).chunk
    assert [row.id for row in store.scan(document_ids=["o'1"])] == ["1"]
    assert store.count(document_ids=["o'1"], include_deleted=True) == 2
    assert [match.id for match in store.query(VectorStoreQuery(embedding=EAST))] == ["1"]
    assert store.delete_by_filter(document_ids=["o'1", "another"]) == 2


def test_ballerina_finds_its_properties(make, client):
    flat, nested = make("ballerina"), make("ballerina-declared")
    for store in (flat, nested):
        store.add([entry("1", metadata={"fileName": "f"}, type="markdown")])
        assert store.get(["1"])[0].chunk.type == "markdown"
        assert (raw(client, store)["content"], raw(client, store)["type"]) == (
            "some text",
            "markdown",
        )
    assert raw(client, flat)["fileName"] == "f"
    assert raw(client, nested)["metadata"] == {"fileName": "f"}


def test_ballerina_metadata_may_be_one_object(milvus_uri, make, client):
    store = make("ballerina")
    data = {"fileName": "f", "n": 2}
    row = {"id": 5, "vector": EAST, "content": "x", "type": "text", "metadata": data}
    client.insert(store.collection_name, [row])
    with MilvusVectorStore.open(store.collection_name, uri=milvus_uri) as again:
        assert again.get(["5"])[0].chunk == TextChunk(content="x", type="text", metadata=data)
        assert [row.id for row in again.scan(where("fileName") == "f")] == ["5"]
        again.add([entry("6", metadata=data)])
        assert raw(client, again, 6)["metadata"] == data


def test_what_others_left_out_is_missing(make, client):
    store = make("ballerina")
    client.insert(store.collection_name, [{"id": 5, "vector": EAST, "n": 3, "type": 7}])
    (row,) = store.scan()
    assert row.chunk == TextChunk(content="", metadata={"n": 3})


def test_llama_index_keys_stand_beside_the_node(make, client):
    store = make("llama-index")
    store.add([entry("a", metadata={"page": 3, "id": "m", "doc_id": "m"}, document_id="d")])
    row = raw(client, store, "a")
    assert (row["doc_id"], row["document_id"], row["ref_doc_id"]) == ("d", "d", "d")
    assert (row["page"], row["text"], row["_node_type"]) == (3, "some text", "TextNode")
    assert store.get(["a"])[0].chunk.metadata == {"page": 3, "id": "m", "doc_id": "m"}
    assert store.count(where("doc_id") == "m") == store.count(where("page") == 3) == 1
    assert store.count(where("doc_id") == "d") == 0


# What has no place


NO_PLACES = [
    ("langchain-dynamic", {"document_id": "d"}, "document_id"),
    ("langchain-dynamic", {"index": 1}, "index"),
    ("langchain-dynamic", {"start": 1, "end": 2}, "start and end"),
    ("langchain-dynamic", {"type": "other"}, "of type 'other'"),
    ("langchain-dynamic", {"id": "another"}, "id of its own"),
    ("langchain-dynamic", {"metadata": {"text": 1}}, "'text'"),
    ("langchain-dynamic", {"metadata": {"$meta": 1}}, "meta"),
    ("langchain-json", {"document_id": "d"}, "document_id"),
    ("ballerina", {"metadata": {"type": 1}}, "'type'"),
    ("ballerina-declared", {"type": "t" * 101}, "101"),
    ("ballerina", {"document_id": "d"}, "document_id"),
    ("rocketride", {"metadata": {"isDeleted": 1}}, "isDeleted"),
    ("rocketride", {"metadata": {"objectId": "x"}, "document_id": "d"}, "objectId"),
    ("rocketride", {"start": 1}, "start"),
    ("llama-index", {"document_id": "None"}, "None"),
    ("roomy", {"metadata": {}, "content": "x" * 65_536}, "65536"),
]


@pytest.mark.parametrize(("kind", "chunk", "names"), NO_PLACES)
def test_what_has_no_place_is_refused(make, kind, chunk, names):
    store = make(kind)
    store.add([entry("1")])
    with pytest.raises(InvalidDocumentError, match=names) as raised:
        store.add([entry("3"), entry("2", **chunk)])
    assert "'2'" in str(raised.value)
    assert [row.id for row in store.scan()] == ["1"], "nothing of the batch is written"


@pytest.mark.parametrize("kind", MADE)
def test_other_content_frameworks_and_soft_deletion(make, kind):
    store = make(kind)
    frames = VectorEntry(id="1", embedding=EAST, chunk=entry().chunk, framework_data={"x": [1]})
    other = VectorEntry(id="2", embedding=EAST, chunk=Chunk(type="table", content={"a": [1]}))
    hidden = VectorEntry(id="3", embedding=EAST, chunk=entry().chunk, deleted=True)
    holds = {
        "roomy": (frames, other, hidden),
        "llama-index": (frames, other),
        "rocketride": (hidden,),
    }.get(kind, ())
    for row in (frames, other, hidden):
        if row in holds:
            store.add([row])
            assert store.get([row.id], include_deleted=True) == [row]
        else:
            with pytest.raises(InvalidDocumentError, match="no place"):
                store.add([row])
    assert store.count(include_deleted=True) == len(holds)


@pytest.mark.parametrize("kind", [name for name, made in MADE.items() if made.ids == "int64"])
@pytest.mark.parametrize("row_id", ["a", "1.0", "01", "+1", " 1", "1_0", str(2**63), str(-(2**63))])
def test_ids_that_are_no_integers_are_refused(make, kind, row_id):
    store = make(kind)
    with pytest.raises(InvalidDocumentError, match="INT64"):
        store.add([entry("1"), entry(row_id)])
    assert store.count() == store.count(ids=[row_id]) == 0
    assert store.get([row_id]) == []
    store.delete(row_id)


def test_ids_that_the_collection_gives(milvus_uri, client):
    name = "auto_" + MADE["ballerina"].make.__name__
    schema = client.create_schema(auto_id=True, enable_dynamic_field=True)
    schema.add_field("pk", DataType.INT64, is_primary=True, auto_id=True)
    schema.add_field("text", DataType.VARCHAR, max_length=100)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    with made_of(client, name, schema), MilvusVectorStore.open(name, uri=milvus_uri) as store:
        ids = store.add([entry(None, metadata={"n": n}) for n in range(5)])
        assert [row.chunk.metadata["n"] for row in store.get(ids)] == list(range(5))
        with pytest.raises(InvalidDocumentError, match="auto-id"):
            store.add([entry(None), entry(ids[0])])
        store.delete(ids[0])
        assert {row.id for row in store.scan()} == set(ids[1:])


def made_of(client, name, schema, vector="vector"):
    """A collection of this schema, for a while."""
    from contextlib import contextmanager

    @contextmanager
    def made():
        client.create_collection(name, schema=schema)
        params = client.prepare_index_params()
        params.add_index(vector, index_type="FLAT", metric_type="L2")
        client.create_index(name, params)
        client.load_collection(name)
        yield name
        client.drop_collection(name)

    return made()


# Declared fields


def declared(client):
    """As langchain-milvus declares metadata by the first row."""
    schema = client.create_schema(enable_dynamic_field=False)
    schema.add_field("text", DataType.VARCHAR, max_length=100)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=100)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("s", DataType.VARCHAR, max_length=10)
    schema.add_field("i", DataType.INT64)
    schema.add_field("f", DataType.DOUBLE)
    schema.add_field("b", DataType.BOOL)
    return schema


FITS = {"s": "a", "i": 1, "f": 1.5, "b": True}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"s": None}, "'s'"),
        ({"s": "x" * 11}, "11"),
        ({"i": 1.5}, "'i'"),
        ({"i": True}, "'i'"),
        ({"f": 2**53 + 1}, "'f'"),
        ({"b": 1}, "'b'"),
        ({"more": 1}, "'more'"),
    ],
)
def test_fields_hold_values_of_their_type(milvus_uri, client, change, names):
    name = "declared_values"
    with (
        made_of(client, name, declared(client)),
        MilvusVectorStore.open(name, uri=milvus_uri) as store,
    ):
        with pytest.raises(InvalidDocumentError, match=names):
            store.add([entry("1", metadata=FITS), entry("2", metadata=FITS | change)])
        with pytest.raises(InvalidDocumentError, match="'i'"):
            store.add([entry("2", metadata={"s": "a"})])
        store.add([entry("1", metadata=FITS)])
        assert [row.chunk.metadata for row in store.scan()] == [FITS]


# Opening


def test_a_missing_collection_is_not_made(milvus_uri, client):
    with MilvusVectorStore.open("nobody_made_this", uri=milvus_uri) as store:
        for call in (store.count, lambda: store.layout, lambda: store.add([entry()])):
            with pytest.raises(VectorStoreError, match="nobody_made_this"):
                call()
    assert not client.has_collection("nobody_made_this")


def test_own_collections_open_as_they_are(make_store, milvus_uri):
    own = make_store()
    own.add([entry("a", document_id="d")])
    with MilvusVectorStore.open(own.collection_name, uri=milvus_uri) as store:
        assert store.layout is None
        assert store.get(["a"]) == [entry("a", document_id="d")]


def test_others_are_not_taken_for_own(make, milvus_uri):
    name = make("langchain-json").collection_name
    with (
        MilvusVectorStore(name, uri=milvus_uri) as store,
        pytest.raises(InvalidConfigError, match=r"MilvusVectorStore\.open"),
    ):
        store.count()


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        (CollectionLayout(id="id", vector="vector", content="text"), "primary key is 'pk'"),
        (CollectionLayout(id="pk", vector="nothing", content="text"), "'nothing'"),
        (CollectionLayout(id="pk", vector="vector", content="body"), "'body'"),
        (CollectionLayout(id="pk", vector="vector", content="text", nodes=True), "dynamic"),
    ],
)
def test_layouts_that_do_not_fit_are_refused(make, milvus_uri, layout, names):
    name = make("langchain-json").collection_name
    with (
        MilvusVectorStore.open(name, uri=milvus_uri, layout=layout) as store,
        pytest.raises(InvalidConfigError, match=names),
    ):
        store.count()


def test_what_cannot_be_told_asks_for_a_layout(milvus_uri, client):
    schema = client.create_schema(enable_dynamic_field=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=100)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("one", DataType.VARCHAR, max_length=100)
    schema.add_field("two", DataType.VARCHAR, max_length=100)
    with made_of(client, "of_nobody", schema, "v") as name:
        with (
            MilvusVectorStore.open(name, uri=milvus_uri) as store,
            pytest.raises(InvalidConfigError, match="layout=CollectionLayout"),
        ):
            store.count()
        layout = CollectionLayout(id="key", vector="v", content="two", document_id="one")
        with MilvusVectorStore.open(name, uri=milvus_uri, layout=layout) as store:
            rows = [entry("a", document_id="d"), entry("b")]
            store.add(rows)
            assert list(store.scan()) == rows
            assert [row.id for row in store.scan(document_ids=["d"])] == ["a"]


def test_a_found_layout_may_be_given_more_places(make, milvus_uri):
    found = make("langchain-dynamic")
    layout = replace(found.layout, document_id="source", chunk="chunk", deleted="hidden")
    with MilvusVectorStore.open(found.collection_name, uri=milvus_uri, layout=layout) as store:
        row = entry("a", document_id="f.pdf", index=1, start=2, end=3, metadata={"n": 1})
        store.add([row])
        assert store.get(["a"]) == [row]
        assert store.count(document_ids=["f.pdf"]) == 1
    assert found.get(["a"])[0].chunk.metadata["source"] == "f.pdf"


def test_stores_can_be_written_down(make, milvus_uri):
    kind = make("roomy")
    options = {"collection_name": kind.collection_name, "uri": milvus_uri, "layout": ROOMY}
    with create_vector_store("milvus", **options) as store:
        store.add([entry("a")])
        for copy in (pickle.loads(pickle.dumps(store)), type(store).from_dict(store.to_dict())):
            assert copy.layout == ROOMY
            assert copy.count() == 1
            copy.close()


@pytest.mark.parametrize(
    "options",
    [
        {"vector": "v", "id": ""},
        {"vector": "v", "id": None},
        {"vector": 7},
        {"vector": "v", "content": ()},
        {"vector": "v", "content": ("a", 1)},
        {"vector": "v", "metadata": 1.5},
        {},
        {"vector": "v", "content": "v"},
        {"vector": "v", "document_id": ("m", "a"), "index": ("m", "a")},
    ],
)
def test_layouts_are_checked(options):
    with pytest.raises(InvalidConfigError):
        CollectionLayout(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "found"},
        {"layout": 1},
        {"layout": ROOMY, "tenant": "t"},
        {"layout": "detect", "metadata_fields": {"a": int}},
        {"layout": "detect", "full_text": True},
    ],
)
def test_stores_check_what_they_are_told_of_a_layout(options, tmp_path):
    with pytest.raises(InvalidConfigError, match="layout"):
        MilvusVectorStore("a", uri=tmp_path / "a.db", **options)
