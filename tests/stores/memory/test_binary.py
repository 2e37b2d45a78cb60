"""Binary rows: exact scores, compaction, fusion with text."""

from math import atan, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_rows import entry
from ragbridge.embeddings import BinaryVector
from ragbridge.stores import _scoring
from ragbridge.stores.base import RRFRanker, SimilarityMetric, VectorStoreQuery, WeightedRanker
from ragbridge.stores.memory import InMemoryVectorStore, vectors
from ragbridge.stores.memory.vectors import BinaryRows
from ragbridge.testing import ReferenceVectorStore
from ragbridge.testing._suite.samples import assert_ranked

BINARY_METRICS = [SimilarityMetric.HAMMING, SimilarityMetric.JACCARD]


def random_bits(seed, rows, width):
    return np.random.default_rng(seed).integers(0, 256, (rows, width), np.uint8)


@pytest.mark.parametrize("metric", BINARY_METRICS)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=st.integers(0, 2**32 - 1))
def test_rows_lie_where_they_were_put_however_they_came(metric, sizes, seed):
    rows = random_bits(seed, sum(sizes), 3)
    binary = BinaryRows(24, metric)
    for size, stop in zip(sizes, np.cumsum(sizes).tolist(), strict=True):
        binary.append(stop - size, [BinaryVector(row) for row in rows[stop - size : stop]])
    slots = np.random.default_rng(seed).integers(0, len(rows), 20)
    assert binary.take(slots) == [BinaryVector(row) for row in rows[slots]]
    keep = np.random.default_rng(seed).integers(0, 2, len(rows)).astype(bool)
    kept = binary.select(keep)
    assert kept.take(np.arange(keep.sum())) == [BinaryVector(row) for row in rows[keep]]


@pytest.mark.parametrize("metric", BINARY_METRICS)
@pytest.mark.parametrize("count", [_scoring._count_bits, _scoring._look_up], ids=["numpy", "table"])
def test_scores_are_exact(metric, count, monkeypatch):
    monkeypatch.setattr(_scoring, "_count_bits", count)
    monkeypatch.setattr(vectors, "_ROWS_AT_ONCE", 7)
    rows = [entry(f"{n:02}", BinaryVector(row)) for n, row in enumerate(random_bits(1, 50, 8))]
    store, reference = InMemoryVectorStore(metric=metric), ReferenceVectorStore(metric=metric)
    for each in (store, reference):
        each.add(rows)
    for top_k in (1, 9, -1):
        query = VectorStoreQuery(embedding=BinaryVector(random_bits(2, 1, 8)[0]), top_k=top_k)
        assert store.query(query) == reference.query(query)


@pytest.mark.parametrize("metric", BINARY_METRICS)
def test_rows_stay_right_when_others_are_gone_for_good(metric):
    rows = [entry(f"{n:04}", BinaryVector(row)) for n, row in enumerate(random_bits(3, 3000, 4))]
    store, reference = InMemoryVectorStore(metric=metric), ReferenceVectorStore(metric=metric)
    store.add(rows)
    store.delete([row.id for row in rows[:2000]])
    reference.add(rows[2000:])
    assert list(store.scan()) == rows[2000:]
    query = VectorStoreQuery(embedding=rows[5].embedding, include_embeddings=True)
    assert store.query(query) == reference.query(query)


def test_what_was_added_or_given_is_nobody_elses():
    given = np.array([1, 2], np.uint8)
    store = InMemoryVectorStore(metric="hamming")
    store.add([entry("a", BinaryVector(given))])
    given[0] = 255
    store.get(["a"])[0].embedding.packed[0] = 254
    assert store.get(["a"])[0].embedding == BinaryVector(b"\x01\x02")


@pytest.mark.parametrize("metric", BINARY_METRICS)
def test_bits_and_texts_are_fused(metric):
    texts = ["zebra", "zebra and more", "horses", "a zebra zebra"]
    rows = [entry(str(n), BinaryVector(bytes([n, 15])), text=text) for n, text in enumerate(texts)]
    store = InMemoryVectorStore(metric=metric)
    store.add(rows)
    bits, words = {"embedding": BinaryVector(b"\x03\x0f")}, {"text": "zebra"}
    near, alike = store.query(VectorStoreQuery(**bits)), store.query(VectorStoreQuery(**words))
    by_rank = {match.id: 1 / (60 + rank) for rank, match in enumerate(near, start=1)}
    by_score = {match.id: 0.3 * match.similarity_score for match in near}
    for rank, match in enumerate(alike, start=1):
        by_rank[match.id] += 1 / (60 + rank)
        by_score[match.id] += 0.7 * 2 * atan(match.similarity_score) / pi
    for ranker, wanted in ((RRFRanker(), by_rank), (WeightedRanker([0.3, 0.7]), by_score)):
        assert_ranked(store.query(VectorStoreQuery(**bits, **words, ranker=ranker)), wanted)


def test_a_listing_needs_no_vector():
    store = InMemoryVectorStore(metric="jaccard")
    query = VectorStoreQuery(embedding=BinaryVector(b"a"))
    assert store.query(query) == []
    store.add([entry("a")])
    assert [match.id for match in store.query(VectorStoreQuery())] == ["a"]
