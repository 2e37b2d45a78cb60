"""The checks that every store makes before it touches its rows."""

from math import inf, nan

import numpy as np
import pytest

from case_names import shown
from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import BinaryVector, HybridVector, SparseVector
from ragbridge.errors import (
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    InvalidInputError,
    InvalidQueryError,
    UnsupportedQueryError,
)
from ragbridge.filters import MetadataFilters, where
from ragbridge.stores._requests import (
    Selection,
    VectorShape,
    check_delete_ids,
    check_dense,
    check_get_ids,
    check_metric,
    check_query,
    leg_limit,
    prepare_batch,
    score_scale,
)
from ragbridge.stores.base import (
    Capability,
    Leg,
    SimilarityMetric,
    VectorEntry,
    VectorStoreQuery,
    WeightedRanker,
)

HAMMING = SimilarityMetric.HAMMING
COSINE, DOT = SimilarityMetric.COSINE, SimilarityMetric.DOT_PRODUCT
SPARSE = SparseVector([1, 2], [1.0, 2.0])
HYBRID = HybridVector([1.0, 2.0], SPARSE)
BINARY = BinaryVector(b"\x01")
DENSE_METRICS = [metric for metric in SimilarityMetric if not metric.is_binary]
EVERY_SHAPE = {
    "dense": ([1.0, 2.0], VectorShape(2, sparse=False)),
    "sparse": (SPARSE, VectorShape(None, sparse=True)),
    "hybrid": (HYBRID, VectorShape(2, sparse=True)),
    "none": (None, VectorShape(None, sparse=False)),
}


def entry(id=None, embedding=(1.0, 2.0), **fields):
    return VectorEntry(id=id, embedding=embedding, chunk=TextChunk(content="words"), **fields)


def test_a_batch_keeps_order_and_the_last_of_equal_ids():
    first, second, other = entry("a"), entry("a"), entry("b")
    batch = prepare_batch([first, other, second], None, COSINE)
    assert batch.ids == ["a", "b", "a"]
    assert batch.rows == {"a": second, "b": other}
    assert batch.rows["a"] is second


def test_new_ids_are_unique():
    batch = prepare_batch([entry() for _ in range(100)], None, COSINE)
    assert len(set(batch.ids)) == len(batch.rows) == 100


def test_nothing_is_no_batch():
    assert prepare_batch([], None, COSINE) is None
    assert prepare_batch(iter(()), VectorShape(2, sparse=False), COSINE) is None


@pytest.mark.parametrize(("embedding", "shape"), EVERY_SHAPE.values(), ids=EVERY_SHAPE)
def test_the_first_entry_fixes_the_shape(embedding, shape):
    assert prepare_batch([entry(embedding=embedding)], None, COSINE).shape == shape


@pytest.mark.parametrize("held", EVERY_SHAPE)
@pytest.mark.parametrize("given", [*EVERY_SHAPE, "longer"])
def test_other_shapes_are_refused(held, given):
    embedding = EVERY_SHAPE[given][0] if given != "longer" else [1.0, 2.0, 3.0]
    entries = [entry("first", EVERY_SHAPE[held][0]), entry("second", embedding)]
    if held == given:
        assert prepare_batch(entries, EVERY_SHAPE[held][1], COSINE)
        return
    for shape in (None, EVERY_SHAPE[held][1]):
        with pytest.raises(InvalidEmbeddingError, match=r"entries\[1\] \(id 'second'\)"):
            prepare_batch(entries, shape, COSINE)


@pytest.mark.parametrize("metric", SimilarityMetric)
@pytest.mark.parametrize("kind", ["dense", "hybrid", "binary"])
def test_a_metric_takes_what_it_compares(kind, metric):
    vector = BINARY if kind == "binary" else EVERY_SHAPE[kind][0]
    query = VectorStoreQuery(embedding=vector)
    if metric.is_binary is (kind == "binary"):
        shape = prepare_batch([entry(embedding=vector)], None, metric).shape
        assert shape == VectorShape.of(entry(embedding=vector))
        asked(query, metric=metric, shape=shape)
        return
    fitting = "cosine, euclidean, dot_product" if metric.is_binary else "hamming, jaccard"
    for shape in (None, VectorShape(8, sparse=False, binary=metric.is_binary)):
        with pytest.raises(InvalidEmbeddingError, match=f"'a'.*{metric}.*{fitting}"):
            prepare_batch([entry("a", vector)], shape, metric)
        with pytest.raises(InvalidEmbeddingError, match=f"query vector.*{metric}.*{fitting}"):
            asked(query, metric=metric, shape=shape)


@pytest.mark.parametrize("embedding", [[1.0], SPARSE, None, BinaryVector(b"ab")], ids=repr)
def test_binary_rows_take_no_other_vectors(embedding):
    with pytest.raises(InvalidEmbeddingError, match=r"'b'.*holds a binary vector of dimension 8"):
        prepare_batch([entry("a", BINARY), entry("b", embedding)], None, HAMMING)


def test_rows_without_a_dense_vector_go_with_every_metric():
    for embedding in (SPARSE, None):
        assert prepare_batch([entry(embedding=embedding)], None, HAMMING)


def test_shapes_say_what_they_are():
    texts = {name: str(shape) for name, (_, shape) in EVERY_SHAPE.items()}
    assert texts == {
        "dense": "a dense vector of dimension 2",
        "sparse": "a sparse vector",
        "hybrid": "a dense vector of dimension 2 and a sparse vector",
        "none": "no vector",
    }


@pytest.mark.parametrize(
    "weights", [{}, {1: 0.0}, {1: -1.0}, {1: 1.0, 2: -0.5}, {1: 1.0, 2: 0.0}], ids=str
)
@pytest.mark.parametrize("dense", [None, [1.0, 2.0]], ids=["sparse", "hybrid"])
def test_sparse_weights_must_be_positive(weights, dense):
    sparse = SparseVector.from_dict(weights)
    embedding = HybridVector(dense, sparse) if dense else sparse
    with pytest.raises(InvalidEmbeddingError, match="positive"):
        prepare_batch([entry(embedding=embedding)], None, DOT)


@pytest.mark.parametrize("bad", [nan, inf, 0.0, -1.0])
def test_sparse_weights_are_looked_at_again(bad):
    sparse = SparseVector([1, 2], [1.0, 2.0])
    row = entry(embedding=sparse)
    sparse.values[1] = bad
    with pytest.raises(InvalidEmbeddingError, match="positive"):
        prepare_batch([row], None, DOT)


@pytest.mark.parametrize("metric", DENSE_METRICS)
@pytest.mark.parametrize("bad", [nan, inf, -inf, 3e38])
def test_dense_vectors_must_have_a_norm(metric, bad):
    vector = np.array([1.0, 1.0, 3e38], dtype=np.float32)
    row = entry("bad", embedding=vector)
    vector[1] = bad
    with pytest.raises(InvalidEmbeddingError, match="bad"):
        prepare_batch([entry(embedding=[1.0, 2.0, 3.0]), row], None, metric)
    with pytest.raises(InvalidEmbeddingError, match="the vector"):
        check_dense(vector, metric, "the vector")


@pytest.mark.parametrize("metric", DENSE_METRICS)
@pytest.mark.parametrize("vector", [[0.0, 0.0], [1e-30, -1e-30], [1e-45, 0.0]], ids=str)
def test_zero_vectors_are_refused_under_cosine_only(metric, vector):
    rows = [entry(embedding=[1.0, 2.0]) for _ in range(3000)]
    rows.append(entry("zero", embedding=vector))
    if metric is COSINE:
        with pytest.raises(InvalidEmbeddingError, match=r"entries\[3000\] \(id 'zero'\)"):
            prepare_batch(rows, None, metric)
    else:
        assert len(prepare_batch(rows, None, metric).ids) == 3001


@pytest.mark.parametrize(
    "wrong", [None, 1, "ab", b"ab", entry(), [None], ["a"], [entry(), 1], [[]]]
)
def test_entries_are_entries(wrong):
    with pytest.raises(InvalidInputError, match="entries"):
        prepare_batch(wrong, None, COSINE)


class TwoFields(TextChunk):
    """A chunk of somebody's own with a field that no store knows."""

    colour: str = "red"


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda row: row.chunk.metadata.update(a=nan), "'a'"),
        (lambda row: row.chunk.metadata.update(a=2**64), "'a'"),
        (lambda row: row.chunk.metadata.update(a=object()), "'a'"),
        (lambda row: row.chunk.metadata.update({1: 2}), "key"),
        (lambda row: row.framework_data.update(a={1}), "framework_data"),
    ],
)
def test_what_became_invalid_is_refused(spoil, name):
    row = entry("spoilt")
    spoil(row)
    with pytest.raises(InvalidDocumentError, match="spoilt") as caught:
        prepare_batch([entry("fine"), row], None, COSINE)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(content=object()),
        Chunk(content={1, 2}),
        Chunk(content=nan),
        Chunk(content=[b"bytes"]),
        TwoFields(content="words"),
        TextChunk(content="words").model_copy(update={"content": 7, "index": -1}),
    ],
    ids=shown,
)
def test_chunks_that_could_not_come_back_are_refused(chunk):
    row = VectorEntry(id="odd", embedding=[1.0, 2.0], chunk=chunk)
    with pytest.raises(InvalidDocumentError, match=r"entries\[0\] \(id 'odd'\)"):
        prepare_batch([row], None, COSINE)


def test_what_became_odd_but_valid_is_mended():
    row = entry("a")
    row.chunk.metadata.update(zero=-0.0, pair=(1, 2))
    kept = prepare_batch([row], None, COSINE).rows["a"].chunk.metadata
    assert repr(kept) == "{'zero': 0.0, 'pair': [1, 2]}"


def asked(query, **changes):
    check_query(
        query,
        **{
            "store": "AStore",
            "capabilities": frozenset(Capability),
            "metric": COSINE,
            "shape": VectorShape(2, sparse=True),
            **changes,
        },
    )


def test_good_queries_pass():
    asked(VectorStoreQuery())
    asked(VectorStoreQuery(embedding=HYBRID, text="a", ranker=WeightedRanker([0.1, 0.2, 0.3])))
    asked(VectorStoreQuery(embedding=[1.0]), shape=None)
    asked(VectorStoreQuery(options={"depth": 1}), options={"depth": int})
    asked(VectorStoreQuery(embedding=[0.0, 0.0]), metric=DOT)


@pytest.mark.parametrize("wrong", [None, "text", [1.0], {}])
def test_queries_are_queries(wrong):
    with pytest.raises(InvalidQueryError, match="query"):
        asked(wrong)


@pytest.mark.parametrize(
    ("parts", "lacking", "named"),
    [
        ({"embedding": [1.0, 2.0]}, Capability.DENSE, "dense"),
        ({"embedding": SPARSE}, Capability.SPARSE, "sparse"),
        ({"text": "a"}, Capability.FULL_TEXT, "full_text"),
        ({"text": "a", "embedding": [1.0, 2.0]}, Capability.HYBRID, "dense and full_text"),
    ],
)
def test_lacking_legs_are_named(parts, lacking, named):
    query = VectorStoreQuery(**parts)
    asked(query)
    with pytest.raises(UnsupportedQueryError, match=f"AStore.*{named}"):
        asked(query, capabilities=frozenset(Capability) - {lacking})


def test_unknown_options_are_named():
    with pytest.raises(UnsupportedQueryError, match=r"AStore.*'nprobe'.*it knows depth, ef"):
        asked(VectorStoreQuery(options={"ef": 1, "nprobe": 2}), options={"ef": 0, "depth": 0})
    with pytest.raises(UnsupportedQueryError, match="none"):
        asked(VectorStoreQuery(options={"ef": 1}))


@pytest.mark.parametrize("weights", [[1.0], [0.1, 0.2, 0.3]])
def test_weights_must_fit_the_legs(weights):
    ranker = WeightedRanker(weights)
    with pytest.raises(InvalidQueryError, match="weights"):
        asked(VectorStoreQuery(embedding=HYBRID, ranker=ranker))
    asked(VectorStoreQuery(embedding=[1.0, 2.0], ranker=ranker))  # one leg needs no ranker


def test_query_vectors_must_fit_the_rows():
    with pytest.raises(InvalidEmbeddingError, match="dimension 3"):
        asked(VectorStoreQuery(embedding=[1.0, 2.0, 3.0]))
    bits = VectorShape(8, sparse=False, binary=True)
    with pytest.raises(InvalidEmbeddingError, match="dimension 16"):
        asked(VectorStoreQuery(embedding=BinaryVector(b"ab")), metric=HAMMING, shape=bits)
    with pytest.raises(UnsupportedQueryError, match="no dense leg"):
        asked(VectorStoreQuery(embedding=[1.0]), shape=VectorShape(None, sparse=False))
    with pytest.raises(InvalidEmbeddingError, match="zero"):
        asked(VectorStoreQuery(embedding=[0.0, 0.0]))
    with pytest.raises(UnsupportedQueryError, match="no sparse leg"):
        asked(VectorStoreQuery(embedding=SPARSE), shape=VectorShape(2, sparse=False))


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ({}, 100),
        ({"top_k": 500}, 500),
        ({"top_k": -1}, -1),
        ({"leg_top_k": {"dense": 7}}, 7),
        ({"leg_top_k": {"dense": -1}}, -1),
        ({"leg_top_k": {"sparse": 7}}, 100),
        ({"leg_top_k": {"dense": 7}, "top_k": 50}, 7),
    ],
)
def test_candidates_per_leg(query, limit):
    assert leg_limit(VectorStoreQuery(**query), Leg.DENSE) == limit


def test_scales_name_what_a_score_is():
    assert [score_scale(leg, DOT) for leg in Leg] == ["dot_product", "sparse", "full_text"]


def test_a_selection_takes_all_that_is_given():
    row = VectorEntry(
        id="a", chunk=TextChunk(content="", document_id="d", metadata={"n": 1}), deleted=False
    )
    hidden = VectorEntry(id="b", chunk=TextChunk(content=""), deleted=True)
    assert Selection.of().matches(row)
    assert not Selection.of().matches(hidden)
    assert Selection.of(include_deleted=True).matches(hidden)
    assert Selection.of(where("n") == 1, ["a"], ["d"]).matches(row)
    assert not Selection.of(where("n") == 2, ["a"], ["d"]).matches(row)
    assert not Selection.of(None, ["b"], ["d"]).matches(row)
    assert not Selection.of(None, ["a"], ["e"]).matches(row)
    assert not Selection.of(None, None, ["d"], include_deleted=True).matches(hidden)
    query = VectorStoreQuery(filters=where("n") == 1, ids=["a"], include_deleted=True)
    assert Selection.of_query(query) == Selection.of(where("n") == 1, ["a"], include_deleted=True)


def test_an_empty_list_selects_nothing():
    assert Selection.of(ids=[]).is_empty
    assert Selection.of(document_ids=[]).is_empty
    assert not Selection.of(ids=["a"]).is_empty
    assert not Selection.of().is_empty


@pytest.mark.parametrize(
    "filters",
    [
        None,
        MetadataFilters(),
        MetadataFilters(condition="not"),
        MetadataFilters([MetadataFilters()]),
        MetadataFilters() | (where("a") == 1),
        where("a").not_in([]),
    ],
    ids=str,
)
def test_a_delete_needs_a_restriction(filters):
    with pytest.raises(InvalidQueryError, match="clear"):
        Selection.for_delete(filters, None, None)
    for restriction in ((filters, ["a"], None), (filters, None, [])):
        assert Selection.for_delete(*restriction).include_deleted
    assert Selection.for_delete(where("a") != 1, None, None).include_deleted


@pytest.mark.parametrize("wrong", [None, 1, b"a", {"a": 1}, [1], [""], ["\ud800"], [None]])
def test_ids_are_ids(wrong):
    for check in (check_get_ids, check_delete_ids):
        with pytest.raises(InvalidQueryError, match="ids"):
            check(wrong)


def test_ids_are_taken_once_in_order():
    assert check_get_ids(["b", "a", "b"]) == ("b", "a")
    assert check_delete_ids("ab") == ("ab",)
    assert check_delete_ids(each for each in "ba") == ("b", "a")
    for wrong in ("a", ""):
        with pytest.raises(InvalidQueryError, match="ids"):
            check_get_ids(wrong)


def test_metrics_go_by_name():
    assert check_metric("cosine") is check_metric(COSINE) is COSINE
    for wrong in ("L2", None, 1, "Cosine"):
        with pytest.raises(InvalidConfigError, match="metric"):
            check_metric(wrong)
