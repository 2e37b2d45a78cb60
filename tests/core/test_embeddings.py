"""Dense, sparse and hybrid vectors, and what a provider gets for writing one method."""

import asyncio
import copy
import pickle
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from case_names import shown
from ragbridge.documents import TextChunk
from ragbridge.embeddings import (
    BinaryVector,
    EmbeddingProvider,
    HybridVector,
    SparseVector,
    as_embedding,
    as_vector,
    check_embeddings,
    compared_part,
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


def test_a_norm_beyond_float32_is_no_matter():
    assert as_vector([3e38, -3e38]).tolist() == np.array([3e38, -3e38], np.float32).tolist()


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
    ids=shown,
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


@given(st.lists(st.booleans(), min_size=1, max_size=20).map(lambda bits: 8 * bits))
def test_bits_are_packed_and_come_back(bits):
    vector = BinaryVector.from_bits(bits)
    assert vector.to_bits() == bits
    assert len(vector) == len(bits)
    assert vector.packed.dtype == np.uint8
    assert vector == BinaryVector(vector.packed) == BinaryVector(vector.packed.tobytes())


def test_the_first_bit_is_the_highest_of_the_first_byte():
    assert BinaryVector.from_bits([1, 0, 0, 0, 0, 0, 0, 0] + 7 * [0] + [1]).packed.tolist() == [
        128,
        1,
    ]
    assert BinaryVector.from_bits(np.ones(8, np.float32) > 0).packed.tolist() == [255]
    assert BinaryVector(bytearray(b"\x03")).to_bits() == [0, 0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "at least one byte"),
        (np.empty(0, np.uint8), "at least one byte"),
        (np.zeros((1, 2), np.uint8), "flat array of uint8"),
        (np.zeros(2, np.int64), "flat array of uint8"),
        ([0, 255], "from_bits"),
        ("\x01", "must be bytes"),
        (None, "must be bytes"),
    ],
    ids=repr,
)
def test_bad_packed_bits_are_refused(packed, message):
    with pytest.raises(InvalidEmbeddingError, match=message):
        BinaryVector(packed)


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (np.empty(0, np.bool_), "multiple of 8"),
        ([1] * 7, "multiple of 8.*not 7"),
        ([0, 1, 2, 0, 0, 0, 0, 0], "0 and 1"),
        ([0.0] * 8, "0 and 1"),
        ([[0] * 8], "0 and 1"),
        ([[0] * 8, [1]], "0 and 1"),
        ("00000000", "0 and 1"),
        (None, "0 and 1"),
    ],
    ids=repr,
)
def test_bad_bits_are_refused(bits, message):
    with pytest.raises(InvalidEmbeddingError, match=message):
        BinaryVector.from_bits(bits)


def test_binary_vectors_are_compared_by_the_dense_leg_but_are_not_dense():
    binary, dense = BinaryVector(b"\x01"), as_vector([1.0])
    assert compared_part(binary) is binary
    assert compared_part(dense) is dense
    assert compared_part(HybridVector(dense, SparseVector([1], [1.0]))) is dense
    assert compared_part(SparseVector([1], [1.0])) is None
    assert dense_part(binary) is sparse_part(binary) is None
    with pytest.raises(InvalidEmbeddingError, match="dense"):
        HybridVector(binary, SparseVector([1], [1.0]))


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
        BinaryVector(b"\x01"),
        BinaryVector(b"\x02"),
        BinaryVector(b"\x01\x00"),
    ]
    for place, one in enumerate(kinds):
        for other_place, other in enumerate(kinds):
            assert same_embedding(one, copy.deepcopy(other)) is (place == other_place)


@pytest.mark.parametrize(
    "vector",
    [
        SparseVector([1], [1.0]),
        HybridVector([1.0], SparseVector([1], [1.0])),
        BinaryVector(b"\x01"),
    ],
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


@pytest.mark.parametrize("position", [0, 1023, 1024, 2999])
def test_many_lists_are_read_as_each_one_is(position):
    made = np.random.default_rng(0).standard_normal((3000, 3)).tolist()
    read = check_embeddings(made, len(made), Lengths())
    assert np.array_equal(read, np.array(made, np.float32))
    assert {(vector.dtype.name, vector.shape) for vector in read} == {("float32", (3,))}
    for wrong in (
        [1.0, float("nan"), 0.0],
        [1e39, 0.0, 0.0],
        ["1", "2", "3"],
        [[1.0], [2.0], [3.0]],
    ):
        with pytest.raises(InvalidEmbeddingError, match="an embedding of Lengths"):
            check_embeddings([*made[:position], wrong, *made[position + 1 :]], len(made), Lengths())
