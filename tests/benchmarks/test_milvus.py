"""Milvus stores against plain pymilvus, on Milvus Lite and on a server.

10,000 rows of 384 float32, HNSW, cosine, k = 10, without full text unless it is named; run with
`pytest tests/benchmarks/test_milvus.py --benchmark-only -s`. The baseline upserts the same ids, vectors,
texts and metadata, in requests of the same size, and reads texts and metadata. Every bound is on a ratio
to a baseline of the same run.
"""

from time import process_time

import pytest

from measuring import ratio_to, record
from plain_milvus import BATCH, Plain, load_anew, metadata_of, queries, text_of
from ragbridge.documents import TextChunk
from ragbridge.filters import where
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.milvus import FullTextOptions

BOTH = pytest.mark.stores("milvus-lite", "milvus")


@pytest.fixture(scope="module")
def entries(vectors):
    return [
        VectorEntry(
            id=f"row-{row}",
            embedding=vector,
            chunk=TextChunk(content=text_of(row), metadata=metadata_of(row)),
        )
        for row, vector in enumerate(vectors)
    ]


@pytest.fixture(scope="module")
def store(make_store, entries):
    store = make_store()
    store.add(entries)
    store.count()
    load_anew(store.client, store.collection_name)
    return store


@pytest.mark.stores("milvus-lite")
def test_ingest(benchmark, client, vectors, make_store, entries):
    speed = speed_of_ingest(benchmark, Plain(client, vectors), make_store(), entries)
    assert speed >= 0.9


@pytest.mark.stores("milvus")
def test_ingest_into_a_server(benchmark, client, vectors, make_store, entries):
    speed = speed_of_ingest(benchmark, Plain(client, vectors), make_store(), entries)
    assert speed >= 0.9


@pytest.mark.stores("milvus")
def test_what_this_process_works_for_an_ingest(benchmark, client, vectors, make_store, entries):
    """Half of what pymilvus does, checks included; the rest of the time is the server's."""
    plain, store = Plain(client, vectors), make_store()
    speed = speed_of_ingest(benchmark, plain, store, entries, rounds=4, clock=process_time)
    assert speed >= 1.25


@pytest.mark.stores("milvus-lite")
@pytest.mark.parametrize(("words", "bound"), [("plain", 0.85), ("english", 0.75)])
def test_ingest_with_full_text(benchmark, client, vectors, make_store, entries, words, bound):
    """English words are stemmed by ragbridge into a field of their own, as Milvus Lite cannot."""
    options = {"stop_words": "english", "stemmer": "porter"} if words == "english" else {}
    store = make_store(full_text=FullTextOptions(**options))
    plain = Plain(client, vectors, full_text=True)
    assert speed_of_ingest(benchmark, plain, store, entries) >= bound


def speed_of_ingest(benchmark, plain, store, entries, *, rounds=8, **how):
    """How many times as fast the store takes the entries."""
    store.add(entries[:1])
    figures = ratio_to(plain.fill, lambda: store.add(entries), rounds=rounds, collect=True, **how)
    record(benchmark, **figures, speed=1 / figures["ratio"])
    benchmark.pedantic(lambda: store.add(entries[:BATCH]), rounds=1)
    return 1 / figures["ratio"]


@BOTH
def test_query(benchmark, plain, store):
    asked = queries()
    figures = ratio_to(
        lambda: plain.search(next(asked)),
        lambda: store.query(VectorStoreQuery(embedding=next(asked))),
        rounds=500,
    )
    record(benchmark, **figures)
    benchmark.pedantic(lambda: store.query(VectorStoreQuery(embedding=next(asked))), rounds=10)
    assert figures["ratio"] <= 1.1


@BOTH
def test_filter_on_an_undeclared_key(benchmark, plain, store):
    asked = queries()
    condition = where("category") == "category 3"
    figures = ratio_to(
        lambda: plain.search(next(asked), 'metadata["category"] == "category 3"'),
        lambda: store.query(VectorStoreQuery(embedding=next(asked), filters=condition)),
        rounds=60,
    )
    record(benchmark, **figures, times_faster=1 / figures["ratio"])
    benchmark.pedantic(lambda: store.count(condition), rounds=3)
    assert figures["ratio"] <= (1 / 5 if store.config.is_lite else 1.1)


@pytest.mark.stores("milvus-lite")
def test_filter_on_a_declared_key(benchmark, client, vectors, make_store, entries):
    plain, store = (
        Plain(client, vectors, category=str),
        make_store(metadata_fields={"category": str}),
    )
    plain.fill()
    load_anew(client, plain.name)
    store.add(entries)
    store.count()
    load_anew(store.client, store.collection_name)
    asked = queries()
    condition = where("category") == "category 3"
    figures = ratio_to(
        lambda: plain.search(next(asked), 'category == "category 3"'),
        lambda: store.query(VectorStoreQuery(embedding=next(asked), filters=condition)),
        rounds=60,
    )
    record(benchmark, **figures)
    benchmark.pedantic(lambda: store.count(condition), rounds=3)
    assert figures["ratio"] <= 1.2


@pytest.mark.stores("milvus-lite")
def test_query_after_ingest(benchmark, client, vectors, make_store, entries):
    plain, store = Plain(client, vectors), make_store()
    plain.fill()  # and no flush: rows in the buffer are searched one by one
    store.add(entries)
    asked = queries()
    figures = ratio_to(
        lambda: plain.search(next(asked)),
        lambda: store.query(VectorStoreQuery(embedding=next(asked))),
        rounds=15,
    )
    record(benchmark, **figures, times_faster=1 / figures["ratio"])
    benchmark.pedantic(lambda: store.query(VectorStoreQuery(embedding=next(asked))), rounds=5)
    assert 1 / figures["ratio"] >= 10


@pytest.mark.stores("milvus")
def test_many_queries_at_once(benchmark, store):
    asked = queries()
    many = [VectorStoreQuery(embedding=next(asked)) for _ in range(100)]
    figures = ratio_to(
        lambda: [store.query(query) for query in many], lambda: store.query_many(many), rounds=8
    )
    record(benchmark, **figures, times_faster=1 / figures["ratio"])
    benchmark.pedantic(lambda: store.query_many(many), rounds=3)
    assert 1 / figures["ratio"] >= 3
