"""Dense and sparse rows: exact scores, ties, blocks that grow, rows that go."""

import gc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_rows import entry, random_vectors
from ragbridge.embeddings import SparseVector
from ragbridge.filters import where
from ragbridge.stores.base import SimilarityMetric, VectorStoreQuery
from ragbridge.stores.memory import InMemoryVectorStore, scoring, table, vectors
from ragbridge.stores.memory.vectors import DenseRows, SparseRows

METRICS = [metric for metric in SimilarityMetric if not metric.is_binary]
EIGHT_ROWS = 4 * 5 * 8  # bytes, of dimension 5


@contextmanager
def small_blocks():
    """Blocks of a few rows, so that a small store has many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_SMALL_BYTES", EIGHT_ROWS)
        patch.setattr(vectors, "_LARGE_BYTES", 2 * EIGHT_ROWS)
        patch.setattr(vectors, "_FEWEST_ROWS", 2)
        patch.setattr(vectors, "_ROWS_AT_ONCE", 3)
        yield


def exact_scores(metric, rows, query):
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric is SimilarityMetric.EUCLIDEAN:
        return 1 / (1 + np.linalg.norm(rows - query, axis=1))
    products = rows @ query
    if metric is SimilarityMetric.DOT_PRODUCT:
        return products
    return products / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


@pytest.mark.parametrize("metric", METRICS)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=st.integers(0, 2**32 - 1))
def test_rows_lie_where_they_were_put_however_they_came(metric, sizes, seed):
    rows = random_vectors(seed, sum(sizes), 5)
    dense = DenseRows(5, metric)
    with small_blocks():
        for size, stop in zip(sizes, np.cumsum(sizes).tolist(), strict=True):
            dense.append(stop - size, list(rows[stop - size : stop]))
    slots = np.random.default_rng(seed).integers(0, len(rows), 20)
    assert np.array_equal(dense.take(slots), rows[slots])
    assert np.array_equal(dense.take(np.arange(len(rows))), rows)
    query = random_vectors(seed + 1, 5)
    exact = exact_scores(metric, rows, query)
    assert dense.exact(query, slots) == pytest.approx(exact[slots])
    prepared = scoring.prepare(metric, query)
    meant = np.array([scoring.rough_of(metric, score, query) for score in exact])
    for rough, wanted in [
        (dense.rough(prepared[None], len(rows))[0], meant),
        (dense.rough_at(prepared, slots), meant[slots]),
    ]:
        assert rough == pytest.approx(wanted, rel=0, abs=dense.slack(prepared))


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_nobody_saw_are_overwritten(metric):
    rows = random_vectors(1, 60, 5)
    dense, sparse = DenseRows(5, metric), SparseRows()
    lost = [SparseVector([1, 2, 3], [1, 1, 1])] * 50
    kept = [SparseVector([n], [n + 1]) for n in range(60)]
    with small_blocks():
        for size, stop in [(0, 7), (7, 20), (20, 60)]:  # a write of 50 rows fails before each
            dense.append(size, list(random_vectors(9, 50, 5)))
            sparse.append(size, lost)
            dense.append(size, list(rows[size:stop]))
            sparse.append(size, kept[size:stop])
    assert np.array_equal(dense.take(np.arange(60)), rows)
    assert sparse.take(np.arange(60)) == kept
    query = random_vectors(2, 1, 5)
    assert np.argmax(dense.rough(query, 60)[0]) == np.argmax(exact_scores(metric, rows, query[0]))


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    survival=st.sampled_from([0.02, 0.3, 0.9, 0.99]),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_that_are_kept_stay_as_they_are(sizes, survival, seed):
    random = np.random.default_rng(seed)
    dense, sparse = DenseRows(5, SimilarityMetric.EUCLIDEAN), SparseRows()
    rows, weights = np.empty((0, 5), np.float32), []
    with small_blocks():
        for size in sizes:
            new = random.standard_normal((size, 5)).astype(np.float32)
            new_weights = [SparseVector([n, 40 + n % 3], [1, n + 1]) for n in range(size)]
            dense.append(len(rows), list(new))
            sparse.append(len(rows), new_weights)
            rows, weights = np.concatenate([rows, new]), weights + new_weights
            keep = random.random(len(rows)) < survival
            dense, sparse = dense.select(keep), sparse.select(keep)
            rows, weights = rows[keep], [w for w, kept in zip(weights, keep, strict=True) if kept]
    everything = np.arange(len(rows))
    assert np.array_equal(dense.take(everything), rows)
    assert sparse.take(everything) == weights
    query = random_vectors(seed, 5)
    assert dense.rough(query[None], len(rows))[0] == pytest.approx(
        rows @ query - (rows**2).sum(axis=1) / 2, abs=1e-5
    )
    wanted = [w.to_dict().get(40, 0) for w in weights]
    query = SparseVector([40, 7000], [1, 1])
    assert sparse.scores(query, len(rows)).tolist() == wanted


@pytest.mark.parametrize("metric", METRICS)
def test_equal_vectors_score_equally_wherever_they_lie(metric):
    vector, query = random_vectors(5, 2, 67)
    rows = [vector if n % 3 else other for n, other in enumerate(random_vectors(6, 301, 67))]
    store = InMemoryVectorStore(metric=metric)
    for n, row in enumerate(rows):  # one by one, so that every place in a block occurs
        store.add([entry(f"{n:03}", row)])
    matches = store.query(VectorStoreQuery(embedding=query, top_k=-1))
    same = [m for m in matches if int(m.id) % 3]
    assert len({m.similarity_score for m in same}) == 1
    assert [m.id for m in same] == sorted(m.id for m in same)
    few = store.query(VectorStoreQuery(embedding=vector, top_k=5))
    assert [m.id for m in few] == ["001", "002", "004", "005", "007"]


def test_near_duplicates_are_told_apart_by_distance():
    """In float32, |a|² - 2ab + |b|² is nothing but rounding here."""
    base = np.full(64, 1000.0, np.float32)
    store = InMemoryVectorStore(metric=SimilarityMetric.EUCLIDEAN)
    rows = []
    for n in range(50):
        near = base.copy()
        near[n] += 0.001 * (n + 1)
        rows.append(entry(f"{n:02}", near))
    store.add(rows)
    matches = store.query(VectorStoreQuery(embedding=base, top_k=10))
    distances = [1 / m.similarity_score - 1 for m in matches]
    exact = sorted(
        (float(np.linalg.norm(row.embedding.astype(float) - base)), row.id) for row in rows
    )[:10]
    assert [m.id for m in matches] == [row_id for _, row_id in exact]
    assert distances == pytest.approx([distance for distance, _ in exact])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-17, 1e-10, 1e10, 5e18])
def test_very_small_and_very_large_vectors_are_ranked_right(metric, scale):
    rows = (random_vectors(7, 40, 3) * scale / 4).astype(np.float32)
    query = (random_vectors(8, 3) * scale / 4).astype(np.float32)
    store = InMemoryVectorStore(metric=metric)
    store.add([entry(f"{n:02}", row) for n, row in enumerate(rows)])
    exact = exact_scores(metric, rows, query)
    matches = store.query(VectorStoreQuery(embedding=query, top_k=7))
    wanted = sorted(((-score, f"{n:02}") for n, score in enumerate(exact)))[:7]
    assert [m.similarity_score for m in matches] == pytest.approx([-score for score, _ in wanted])
    if len(set(exact.tolist())) == len(exact):
        assert [m.id for m in matches] == [row_id for _, row_id in wanted]


def test_a_vector_is_exactly_like_itself():
    rows = random_vectors(11, 200, 33)
    store = InMemoryVectorStore()
    store.add([entry(str(n), row) for n, row in enumerate(rows)])
    for n, row in enumerate(rows):
        (best,) = store.query(VectorStoreQuery(embedding=row, top_k=1))
        assert best.id == str(n)
        assert best.similarity_score == pytest.approx(1.0, abs=1e-15)
        assert best.similarity_score <= 1.0


@pytest.mark.parametrize("metric", METRICS)
def test_min_score_is_a_sharp_bound(metric):
    rows = random_vectors(12, 500, 16)
    query = random_vectors(13, 16)
    store = InMemoryVectorStore(metric=metric)
    store.add([entry(f"{n:03}", row) for n, row in enumerate(rows)])
    ranked = store.query(VectorStoreQuery(embedding=query, top_k=-1))
    for place in (0, 1, 10, 250, 499):
        bound = ranked[place].similarity_score
        for top_k in (-1, 1000):
            kept = VectorStoreQuery(embedding=query, top_k=top_k, min_score=bound)
            assert store.query(kept) == ranked[: place + 1]
            above = np.nextafter(bound, np.inf)
            fewer = VectorStoreQuery(embedding=query, top_k=top_k, min_score=float(above))
            assert store.query(fewer) == ranked[:place]


@pytest.mark.parametrize("bound", [1e-300, 1e-200, 0.0, -1e300, 5e-324])
@pytest.mark.parametrize("metric", METRICS)
def test_a_bound_below_everything_bounds_nothing(metric, bound):
    store = InMemoryVectorStore(metric=metric)
    store.add([entry("a", [1.0, 1.0]), entry("b", [1.0, 0.5])])
    assert len(store.query(VectorStoreQuery(embedding=[1.0, 0.0], min_score=bound))) == 2


@pytest.mark.parametrize("metric", METRICS)
def test_a_bound_above_everything_leaves_nothing(metric):
    store = InMemoryVectorStore(metric=metric)
    store.add([entry("a", [1.0, 1.0]), entry("b", [1.0, 0.5])])
    assert store.query(VectorStoreQuery(embedding=[1.0, 0.0], min_score=1e300)) == []


@pytest.mark.parametrize("metric", METRICS)
def test_many_queries_are_answered_as_one_by_one(metric):
    rows = random_vectors(14, 300, 12)
    store = InMemoryVectorStore(metric=metric)
    store.add([entry(f"{n:03}", row, metadata={"n": n}) for n, row in enumerate(rows)])
    few, most = where("n") < 20, where("n") >= 20
    queries = [
        VectorStoreQuery(
            embedding=query,
            filters=[None, few, most][n % 3],
            top_k=[3, -1][n % 2],
            ids=["001", "150"] if n % 7 == 0 else None,
        )
        for n, query in enumerate(random_vectors(15, 70, 12))
    ]
    queries[5:5] = [VectorStoreQuery(top_k=4), VectorStoreQuery(text="some")]
    assert store.query_many(queries) == [store.query(query) for query in queries]
    assert store.query_many([]) == []


def test_upserts_and_deletes_without_end_do_not_grow_the_store(monkeypatch):
    monkeypatch.setattr(table, "_FEW_DEAD_ROWS", 50)
    store = InMemoryVectorStore()
    random = np.random.default_rng(1)
    for _ in range(200):
        ids = [str(n) for n in random.choice(300, 40, replace=False)]
        store.add([entry(row_id, random.standard_normal(8)) for row_id in ids])
        store.delete([str(n) for n in random.choice(300, 20, replace=False)])
    state = store._state
    assert store.count() == len(state.table.slot_of) <= 300
    assert state.size <= 300 + max(50, 75) + 40
    assert sum(len(block) for _, block in state.table.dense._blocks) <= 1000


def test_rows_that_are_gone_are_given_back(monkeypatch):
    monkeypatch.setattr(table, "_FEW_DEAD_ROWS", 0)
    store = InMemoryVectorStore()
    store.add([entry(str(n), random_vectors(n, 4)) for n in range(100)])
    old = weakref.ref(store._state.table)
    store.delete([str(n) for n in range(90)])
    gc.collect()
    assert old() is None
    assert store._state.size == 10
    cleared = weakref.ref(store._state.table)
    store.clear()
    gc.collect()
    assert cleared() is None
