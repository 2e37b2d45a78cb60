"""Dense, sparse and hybrid vectors, and what a provider gets for writing one method."""

import asyncio
import copy
import pickle
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.documents import TextChunk
from ragbridge.embeddings import (
    EmbeddingProvider,
    HybridVector,
    SparseVector,
    as_embedding,
    as_vector,
    dense_part,
    same_embedding,
    sparse_part,
)
from ragbridge.errors import InvalidEmbeddingError

LAST_INDEX = 2**32 - 2


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.5],
        (1, 2),
        [True + 0, 2],
        np.array([1.0, 2.0]),
        np.array([1, 2], dtype=np.int8),
        np.array([1, 2], dtype=np.float16),
        np.array([1.0, 2.0, 3.0, 4.0])[::2],
        range(1, 4),
        [1e-46],
    ],
    ids=repr,
)
def test_numbers_become_float32(values):
    vector = as_vector(values)
    assert vector.dtype == np.float32
    assert vector.flags.c_contiguous
    assert vector.tolist() == np.asarray(values, dtype=np.float32).tolist()


def test_a_float32_array_is_taken_as_it_is():
    array = np.ones(3, dtype=np.float32)
    assert as_vector(array) is array


@pytest.mark.parametrize(
    "values",
    [
        [],
        np.empty(0),
        None,
        1.0,
        "text",
        b"bytes",
        ["1", "2"],
        [None],
        [1.0, None],
        [True, False],
        [[1.0, 2.0]],
        [[1.0], [2.0, 3.0]],
        np.ones((2, 2)),
        {"a": 1},
        {1.0, 2.0},
        [1j],
        object(),
    ],
    ids=repr,
)
def test_what_is_no_flat_sequence_of_numbers_is_refused(values):
    with pytest.raises(InvalidEmbeddingError, match="the vector"):
        as_vector(values, "the vector")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e39, -1e300])
def test_values_must_be_finite_float32(bad):
    with pytest.raises(InvalidEmbeddingError, match="position 1"):
        as_vector([0.0, bad, 1.0])
    with pytest.raises(InvalidEmbeddingError, match="position 1"):
        SparseVector([0, 1, 2], [0.0, bad, 1.0])


def test_sparse_vectors_hold_indices_and_values():
    vector = SparseVector([0, 5, LAST_INDEX], [0.5, -1.0, 2])
    assert vector.indices.dtype == np.int64
    assert vector.values.dtype == np.float32
    assert vector.to_dict() == {0: 0.5, 5: -1.0, LAST_INDEX: 2.0}
    assert SparseVector.from_dict({5: -1.0, LAST_INDEX: 2.0, 0: 0.5}) == vector
    assert SparseVector([], []).to_dict() == {}
    assert SparseVector.from_dict({}) == SparseVector([], [])


@pytest.mark.parametrize(
    ("indices", "values"),
    [
        ([1], [1.0, 2.0]),
        ([1, 2], [1.0]),
        ([], [1.0]),
        ([1], []),
        ([2, 1], [1.0, 1.0]),
        ([1, 1], [1.0, 1.0]),
        ([-1], [1.0]),
        ([2**32 - 1], [1.0]),
        ([2**70], [1.0]),
        ([1.0], [1.0]),
        (["1"], [1.0]),
        ([True], [1.0]),
        ([[1]], [[1.0]]),
        (None, [1.0]),
        (1, 1.0),
        ([1], ["a"]),
        ([1], None),
        ([[1], [2, 3]], [1.0, 1.0]),
    ],
)
def test_bad_sparse_vectors_are_refused(indices, values):
    with pytest.raises(InvalidEmbeddingError):
        SparseVector(indices, values)


@pytest.mark.parametrize("weights", [None, [1.0], {"a": 1.0}, {1: "x"}, {1.5: 1.0}, {-1: 1.0}])
def test_bad_weights_are_refused(weights):
    with pytest.raises(InvalidEmbeddingError):
        SparseVector.from_dict(weights)


@given(st.dictionaries(st.integers(0, LAST_INDEX), st.floats(-1000, 1000, width=32), max_size=8))
def test_sparse_vectors_come_back_from_dicts(weights):
    assert SparseVector.from_dict(weights).to_dict() == weights


def test_hybrid_vectors_hold_both():
    sparse = SparseVector([1], [2.0])
    vector = HybridVector([1.0, 2.0], sparse)
    assert vector.dense.tolist() == [1.0, 2.0]
    assert vector.sparse is sparse
    with pytest.raises(InvalidEmbeddingError, match="sparse"):
        HybridVector([1.0], {1: 2.0})
    with pytest.raises(InvalidEmbeddingError, match="dense"):
        HybridVector([], sparse)


def test_the_parts_of_an_embedding():
    dense, sparse = as_vector([1.0, 2.0]), SparseVector([1], [2.0])
    both = HybridVector(dense, sparse)
    assert [dense_part(each) is not None for each in (dense, sparse, both, None)] == [
        True,
        False,
        True,
        False,
    ]
    assert [sparse_part(each) for each in (dense, sparse, both, None)] == [
        None,
        sparse,
        sparse,
        None,
    ]


def test_embeddings_are_compared_by_kind_and_value():
    kinds = [
        None,
        as_vector([1.0, 2.0]),
        as_vector([1.0, 2.5]),
        as_vector([1.0]),
        SparseVector([1], [1.0]),
        SparseVector([2], [1.0]),
        HybridVector([1.0, 2.0], SparseVector([1], [1.0])),
        HybridVector([1.0, 2.0], SparseVector([1], [2.0])),
    ]
    for place, one in enumerate(kinds):
        for other_place, other in enumerate(kinds):
            assert same_embedding(one, copy.deepcopy(other)) is (place == other_place)


@pytest.mark.parametrize(
    "vector", [SparseVector([1], [1.0]), HybridVector([1.0], SparseVector([1], [1.0]))]
)
def test_vectors_are_values(vector):
    assert as_embedding(vector) is vector
    assert pickle.loads(pickle.dumps(vector)) == vector
    assert vector != "something else"
    with pytest.raises(TypeError):
        hash(vector)
    with pytest.raises(FrozenInstanceError):
        setattr(vector, fields(vector)[0].name, None)


class Lengths(EmbeddingProvider):
    """Embeds a text as its length and how many texts came with it."""

    def batch_embed(self, chunks):
        return [as_vector([len(chunk.content), len(chunks)]) for chunk in chunks]


class TellsQueriesApart(Lengths):
    def batch_embed_queries(self, texts):
        return [as_vector([-len(text), len(texts)]) for text in texts]


def test_a_provider_is_made_of_one_method():
    provider = Lengths()
    chunks = [TextChunk(content="a"), TextChunk(content="bcd")]
    assert provider.embed(chunks[1]).tolist() == [3.0, 1.0]
    assert provider.embed_query("ab").tolist() == [2.0, 1.0]
    assert [each.tolist() for each in provider.batch_embed_queries(["ab", ""])] == [[2, 2], [0, 2]]

    async def use():
        assert (await provider.aembed(chunks[1])).tolist() == [3.0, 1.0]
        assert [each.tolist() for each in await provider.abatch_embed(chunks)] == [[1, 2], [3, 2]]
        assert (await provider.aembed_query("ab")).tolist() == [2.0, 1.0]
        assert [each.tolist() for each in await provider.abatch_embed_queries(["ab"])] == [[2, 1]]

    asyncio.run(use())


def test_a_provider_may_embed_queries_differently():
    provider = TellsQueriesApart()
    assert provider.embed(TextChunk(content="ab")).tolist() == [2.0, 1.0]
    assert provider.embed_query("ab").tolist() == [-2.0, 1.0]
    assert asyncio.run(provider.aembed_query("ab")).tolist() == [-2.0, 1.0]
