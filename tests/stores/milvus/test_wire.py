"""The engine does the work: few of many rows cross the wire."""

import numpy as np
import pytest

from engine_calls import record_calls
from ragbridge.documents import TextChunk
from ragbridge.filters import matches, where
from ragbridge.stores.base import SimilarityMetric, VectorEntry, VectorStoreQuery

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

ROWS, DIMENSION, TOP_K = 24_000, 8, 10
VECTORS = np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)
QUERY = VECTORS[7] + np.float32(0.1)


def metadata_of(number):
    data = {"n": number, "price": (number % 1000) / 4, "kind": f"kind {number % 50}"}
    if number % 3:
        data["spec"] = {"ram": number % 64, "flag": number % 2 == 0}
    return data


@pytest.fixture(scope="module")
def loaded(backend):
    """A store of more rows than engines give at once, with an exact index."""
    store = backend.new_store(metric=SimilarityMetric.COSINE, index="FLAT")
    store.add(
        [
            VectorEntry(
                id=f"r{n:06}",
                embedding=VECTORS[n],
                chunk=TextChunk(content="text", metadata=metadata_of(n)),
            )
            for n in range(ROWS)
        ]
    )
    assert store.count() == ROWS
    yield store
    backend.remove(store)


FILTERS = {
    "none": None,
    "==": where("kind") == "kind 7",
    "== a number": where("price") == 3,
    "== a boolean": where("spec", "flag") == True,  # noqa: E712
    "== one row": where("n") == 7_777,
    "!=": where("kind") != "kind 7",
    "<": where("price") < 5,
    ">=": where("spec", "ram") >= 60,
    "a range": (where("price") > 5) & (where("price") <= 5.5),
    "in": where("kind").in_(["kind 1", "kind 2", "nothing"]),
    "nin": where("n").not_in(list(range(20))),
    "exists": where("spec", "ram").exists(),
    "is missing": where("spec") == None,  # noqa: E711
    "and": (where("kind") == "kind 7") & (where("price") < 100) & (where("spec", "ram") < 9),
    "or": (where("kind") == "kind 7") | (where("price") == 1),
    "not": ~((where("kind") == "kind 7") | (where("price") < 240)),
    "nothing": where("n") == -1,
}


@pytest.mark.parametrize("condition", FILTERS.values(), ids=FILTERS)
def test_no_more_rows_cross_the_wire_than_are_asked_for(loaded, monkeypatch, condition):
    calls = record_calls(monkeypatch)
    query = VectorStoreQuery(embedding=QUERY, filters=condition, top_k=TOP_K)
    found = [match.id for match in loaded.query(query)]
    assert sum(call.rows for call in calls) <= TOP_K
    assert [call.method for call in calls] == ["search"]
    assert found == best_of(condition)


def best_of(condition):
    """The ids of the right matches, by brute force."""
    chosen = [n for n in range(ROWS) if condition is None or matches(condition, metadata_of(n))]
    rows = VECTORS[chosen].astype(np.float64)
    scores = rows @ QUERY / np.linalg.norm(rows, axis=1)
    return [f"r{chosen[place]:06}" for place in np.argsort(-scores)[:TOP_K]]


def test_a_listing_reads_what_it_lists(loaded, monkeypatch):
    calls = record_calls(monkeypatch)
    found = loaded.query(VectorStoreQuery(filters=where("kind") == "kind 7", top_k=TOP_K))
    assert [match.id for match in found] == [f"r{7 + 50 * n:06}" for n in range(TOP_K)]
    assert sum(call.rows for call in calls) <= TOP_K


def test_counting_reads_no_rows(loaded, monkeypatch):
    calls = record_calls(monkeypatch)
    assert loaded.count() == ROWS
    assert loaded.count(where("kind") == "kind 7") == ROWS // 50
    assert sum(call.rows for call in calls) <= 3, "one row for each count"


def test_what_the_engine_cannot_say_is_looked_for_no_further_than_needed(loaded, monkeypatch):
    calls = record_calls(monkeypatch)
    condition = where("kind").text_match("KIND 4", ignore_case=True)
    found = loaded.query(VectorStoreQuery(embedding=QUERY, filters=condition, top_k=TOP_K))
    assert [match.id for match in found] == best_of(condition)
    assert sum(call.rows for call in calls) < 1000


def test_every_row_can_be_read(loaded, monkeypatch):
    ids = [row.id for row in loaded.scan(include_embeddings=False)]
    assert sorted(ids) == [f"r{n:06}" for n in range(ROWS)]


def test_all_matches_beyond_the_window_of_an_engine(loaded):
    everyone = loaded.query(VectorStoreQuery(embedding=QUERY, top_k=20_000))
    assert len({match.id for match in everyone}) == 20_000
    scores = [match.similarity_score for match in everyone]
    assert scores == sorted(scores, reverse=True)
    rows = VECTORS.astype(np.float64)
    right = np.sort(rows @ QUERY / np.linalg.norm(rows, axis=1) / np.linalg.norm(QUERY))[::-1]
    np.testing.assert_allclose(scores, right[:20_000], atol=1e-6)
