"""Vectors, and the providers that make them from chunks and queries."""

import asyncio
import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias, TypeGuard
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ragbridge.documents import Chunk, TextChunk
from ragbridge.errors import (
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    shorten,
)

__all__ = [
    "BinaryVector",
    "Embedding",
    "EmbeddingLike",
    "EmbeddingProvider",
    "HashingEmbeddingProvider",
    "HybridVector",
    "SparseVector",
    "Vector",
    "as_embedding",
    "as_vector",
]

Vector: TypeAlias = NDArray[np.float32]
"""A dense vector: a one-dimensional float32 array of shape (dimension,)."""

_FLOAT32: Final = np.dtype(np.float32)
_VECTORS_AT_ONCE: Final = 1024
_MAX_SPARSE_INDEX = 2**32 - 2  # the last one that Milvus takes


def as_vector(values: object, name: str = "embedding") -> Vector:
    """`values` as a dense vector; a float32 array is taken as it is, without a copy.

    Args:
        values: A sequence or array of numbers, shape (dimension,), dimension at least 1.
        name: What the error calls it.

    Raises:
        InvalidEmbeddingError: empty, not one-dimensional, no numbers, NaN, or beyond float32.
    """
    if _is_vector(values):
        return values
    try:
        array = np.asarray(values)
    except ValueError as error:  # ragged lists
        raise InvalidEmbeddingError(
            f"{name} must be one flat sequence of numbers, not {shorten(values)}"
        ) from error
    if array.ndim != 1 or not array.size or array.dtype.kind not in "fiu":
        raise InvalidEmbeddingError(
            f"{name} must be a flat, non-empty sequence of numbers, not {shorten(values)} "
            f"(shape {array.shape}, dtype {array.dtype})"
        )
    with np.errstate(over="ignore"):
        vector = np.ascontiguousarray(array, dtype=np.float32)
        is_finite = math.isfinite(vector.dot(vector))  # takes less time than to look at each value
    if not is_finite and not np.isfinite(vector).all():
        place = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise InvalidEmbeddingError(
            f"{name} holds {array[place]!s} at position {place}; every value must be a finite float32"
        )
    return vector


def _is_vector(values: object) -> TypeGuard[Vector]:
    """Whether it is certainly one; a quick look, for vectors that are checked more than once."""
    return (
        type(values) is np.ndarray
        and values.dtype == _FLOAT32
        and values.ndim == 1
        and values.flags.c_contiguous
        and values.size > 0
        and bool(np.isfinite(values).all())
    )


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """A sparse vector: `values[i]` stands at `indices[i]`, all others are zero.

    Attributes:
        indices: Shape (n,), int64, strictly ascending, from 0 to 2**32 - 2.
        values: Shape (n,), float32, finite.

    Raises:
        InvalidEmbeddingError: lengths differ, or indices are negative, unsorted or repeated.
    """

    indices: NDArray[np.int64]
    values: Vector

    def __init__(self, indices: object, values: object) -> None:
        object.__setattr__(self, "indices", _sparse_indices(indices))
        empty = isinstance(values, Sized) and not len(values)
        vector = np.empty(0, np.float32) if empty else as_vector(values, "values")
        object.__setattr__(self, "values", vector)
        if len(self.indices) != len(self.values):
            raise InvalidEmbeddingError(
                f"a sparse vector needs as many indices as values, not {len(self.indices)} indices "
                f"and {len(self.values)} values"
            )

    @classmethod
    def from_dict(cls, weights: Mapping[int, float]) -> "SparseVector":
        """From `{index: value}` in any order.

        Raises:
            InvalidEmbeddingError: no mapping of integers to numbers.
        """
        if not isinstance(weights, Mapping) or not all(isinstance(key, int) for key in weights):
            raise InvalidEmbeddingError(
                f"weights must be a mapping of integers to numbers, not {shorten(weights)}"
            )
        ordered = sorted(weights.items())
        return cls([index for index, _ in ordered], [value for _, value in ordered])

    def to_dict(self) -> dict[int, float]:
        """`{index: value}`, ascending."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseVector):
            return NotImplemented
        return np.array_equal(self.indices, other.indices) and np.array_equal(
            self.values, other.values
        )

    __hash__ = None  # type: ignore[assignment]


def _sparse_indices(indices: object) -> NDArray[np.int64]:
    try:
        array = np.asarray(indices)
    except ValueError as error:  # ragged lists
        raise InvalidEmbeddingError(
            f"indices must be a flat sequence of integers, not {shorten(indices)}"
        ) from error
    if not array.size:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidEmbeddingError(
            f"indices must be a flat sequence of integers, not {shorten(indices)}"
        )
    if array.min() < 0 or array.max() > _MAX_SPARSE_INDEX:
        raise InvalidEmbeddingError(
            f"indices must lie between 0 and {_MAX_SPARSE_INDEX}, not {shorten(indices)}"
        )
    array = array.astype(np.int64)
    if (np.diff(array) <= 0).any():
        raise InvalidEmbeddingError(
            f"indices must ascend without repeats, not {shorten(indices)}; sort them, or use "
            "SparseVector.from_dict"
        )
    return array


@dataclass(frozen=True, slots=True, eq=False)
class BinaryVector:
    """A vector of bits, eight in a byte; the first is the highest bit of the first byte.

    That is the order of `numpy.packbits`, and of Milvus.

    Attributes:
        packed: Shape (dimension / 8,), uint8.

    Raises:
        InvalidEmbeddingError: neither bytes nor a flat uint8 array, or empty.
    """

    packed: NDArray[np.uint8]

    def __init__(self, packed: bytes | bytearray | NDArray[np.uint8]) -> None:
        array: object = packed
        if isinstance(array, bytes | bytearray):
            array = np.frombuffer(bytes(array), np.uint8)
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 1:
            raise InvalidEmbeddingError(
                f"packed must be bytes or a flat array of uint8, not {shorten(packed)}; "
                "BinaryVector.from_bits takes single bits"
            )
        if not array.size:
            raise InvalidEmbeddingError("packed must hold at least one byte, which is eight bits")
        object.__setattr__(self, "packed", np.ascontiguousarray(array))

    @classmethod
    def from_bits(cls, bits: object) -> "BinaryVector":
        """From single bits: a flat sequence of 0 and 1 or of booleans, a multiple of 8 of them.

        Raises:
            InvalidEmbeddingError: anything else.
        """
        try:
            array = np.asarray(bits)
        except ValueError as error:  # ragged lists
            raise InvalidEmbeddingError(
                f"bits must be a flat sequence of 0 and 1, not {shorten(bits)}"
            ) from error
        if (
            array.ndim != 1
            or array.dtype.kind not in "biu"
            or not ((array == 0) | (array == 1)).all()
        ):
            raise InvalidEmbeddingError(
                f"bits must be a flat sequence of 0 and 1, not {shorten(bits)}"
            )
        if not array.size or array.size % 8:
            raise InvalidEmbeddingError(
                f"bits must be a multiple of 8, at least 8, not {array.size}; fill up with zeros"
            )
        return cls(np.packbits(array.astype(np.bool_)))

    def to_bits(self) -> list[int]:
        """The single bits, each 0 or 1."""
        bits: list[int] = np.unpackbits(self.packed).tolist()
        return bits

    def __len__(self) -> int:
        """The dimension: how many bits there are."""
        return 8 * len(self.packed)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BinaryVector):
            return NotImplemented
        return np.array_equal(self.packed, other.packed)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class HybridVector:
    """A dense and a sparse vector of the same thing."""

    dense: Vector
    sparse: SparseVector

    def __init__(self, dense: object, sparse: SparseVector) -> None:
        if not isinstance(sparse, SparseVector):
            raise InvalidEmbeddingError(f"sparse must be a SparseVector, not {shorten(sparse)}")
        object.__setattr__(self, "dense", as_vector(dense, "dense"))
        object.__setattr__(self, "sparse", sparse)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HybridVector):
            return NotImplemented
        return np.array_equal(self.dense, other.dense) and self.sparse == other.sparse

    __hash__ = None  # type: ignore[assignment]


Embedding: TypeAlias = Vector | SparseVector | HybridVector | BinaryVector
EmbeddingLike: TypeAlias = Embedding | Sequence[float]
"""What is accepted where an embedding is asked for."""


def as_embedding(value: object, name: str = "embedding") -> Embedding:
    """`value` as an embedding: lists and arrays become dense float32 vectors.

    Raises:
        InvalidEmbeddingError: see `as_vector`.
    """
    if isinstance(value, SparseVector | HybridVector | BinaryVector):
        return value
    return as_vector(value, name)


def dense_part(embedding: EmbeddingLike | None) -> Vector | None:
    """The dense vector in `embedding`, if it has one."""
    if isinstance(embedding, HybridVector):
        return embedding.dense
    return embedding if isinstance(embedding, np.ndarray) else None


def compared_part(embedding: EmbeddingLike | None) -> Vector | BinaryVector | None:
    """The vector in `embedding` that the dense leg compares, if it has one."""
    return embedding if isinstance(embedding, BinaryVector) else dense_part(embedding)


def dense_parts(embeddings: Sequence[Embedding | None]) -> list[Vector]:
    """The dense vectors of those embeddings that have one."""
    parts = (e if type(e) is np.ndarray else dense_part(e) for e in embeddings)
    return [part for part in parts if part is not None]


def sparse_part(embedding: EmbeddingLike | None) -> SparseVector | None:
    """The sparse vector in `embedding`, if it has one."""
    if isinstance(embedding, HybridVector):
        return embedding.sparse
    return embedding if isinstance(embedding, SparseVector) else None


def same_embedding(one: Embedding | None, other: Embedding | None) -> bool:
    """Whether two embeddings are of the same kind and hold the same values."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return (
            isinstance(one, np.ndarray)
            and isinstance(other, np.ndarray)
            and np.array_equal(one, other)
        )
    return one == other


class EmbeddingProvider(ABC):
    """Makes embeddings of chunks and of queries.

    Only `batch_embed` must be written. Models that embed queries differently from passages override
    `batch_embed_queries` as well. The async twins run the sync methods in a thread unless overridden.
    """

    @abstractmethod
    def batch_embed(self, chunks: Sequence[Chunk]) -> list[Embedding]:
        """One embedding for each chunk, in their order."""

    def embed(self, chunk: Chunk) -> Embedding:
        """The embedding of one chunk."""
        return self.batch_embed([chunk])[0]

    def batch_embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """One embedding for each query text, in their order."""
        return self.batch_embed([TextChunk(content=text) for text in texts])

    def embed_query(self, text: str) -> Embedding:
        """The embedding of one query text."""
        return self.batch_embed_queries([text])[0]

    async def abatch_embed(self, chunks: Sequence[Chunk]) -> list[Embedding]:
        """Async twin of `batch_embed`."""
        return await asyncio.to_thread(self.batch_embed, chunks)

    async def aembed(self, chunk: Chunk) -> Embedding:
        """Async twin of `embed`."""
        return (await self.abatch_embed([chunk]))[0]

    async def abatch_embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """Async twin of `batch_embed_queries`."""
        return await asyncio.to_thread(self.batch_embed_queries, texts)

    async def aembed_query(self, text: str) -> Embedding:
        """Async twin of `embed_query`."""
        return (await self.abatch_embed_queries([text]))[0]


def check_embeddings(
    made: Sequence[EmbeddingLike], expected: int, provider: EmbeddingProvider
) -> list[Embedding]:
    """What `provider` made of `expected` chunks or queries, as embeddings.

    Raises:
        InvalidEmbeddingError: too few, too many, or one that is no vector.
    """
    name = type(provider).__name__
    if len(made) != expected:
        raise InvalidEmbeddingError(f"{name} made {len(made)} embeddings of {expected} texts")
    return [
        embedding
        for start in range(0, len(made), _VECTORS_AT_ONCE)
        for embedding in _as_embeddings(made[start : start + _VECTORS_AT_ONCE], name)
    ]


def _as_embeddings(made: Sequence[EmbeddingLike], name: str) -> Iterable[Embedding]:
    if set(map(type, made)) == {list}:  # in one go, if they are in order, as nearly all are
        with suppress(ValueError), np.errstate(over="ignore"):  # ragged lists; float64
            array = np.asarray(made)
            block = array.astype(np.float32) if array.dtype.kind in "fiu" else np.empty(0)
            if block.ndim == 2 and block.size and np.isfinite(block).all():
                return block
    return [as_embedding(vector, f"an embedding of {name}") for vector in made]


_WORD: Final = re.compile(r"\w+")
_MIXER: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: spreads CRCs over 64 bits
_FUNCTION_WORDS: Final = frozenset(
    "a an and any are as at be been but by can could did do does for from had has have how i if in "
    "into is it its me my no not of on or our should so some than that the their them then there "
    "these they this those to under was we were what when where which while who why will with would "
    "you your".split()
)
_WORD_WEIGHT, _PAIR_WEIGHT, _GRAM_WEIGHT = 1.0, 0.5, 0.25


class HashingEmbeddingProvider(EmbeddingProvider):
    """Lexical embeddings without a model: offline, deterministic, nothing to download.

    Words other than English function words, pairs of neighbouring words and the 3- and 4-grams of each word's letters are hashed into
    a vector of unit length, so texts that share words or parts of words are near each other, plurals
    and typing errors included.

    This is no semantic model. It knows no synonyms ("cheap" is as far from "affordable" as from
    "giraffe"), no translations, no word order beyond pairs and no idea of which words matter. It is
    for first steps, tests and examples; for quality use a trained model, or full-text search.

    The same text gives the same vector on every platform and in every run.

    Args:
        dimension: Length of the vectors; more means fewer collisions.

    Source: the hashing trick of Weinberger et al., "Feature Hashing for Large Scale Multitask
    Learning", ICML 2009.

    Raises:
        InvalidConfigError: dimension is no integer of at least 2.
    """

    def __init__(self, dimension: int = 1024) -> None:
        if not isinstance(dimension, int) or isinstance(dimension, bool) or dimension < 2:
            raise InvalidConfigError(
                f"dimension must be an integer of at least 2, not {shorten(dimension)}"
            )
        self.dimension = dimension

    def batch_embed(self, chunks: Sequence[Chunk]) -> list[Embedding]:
        """One unit vector of shape (dimension,) for each text chunk.

        Raises:
            InvalidDocumentError: a chunk's content is no text.
        """
        for chunk in chunks:
            if not isinstance(chunk.content, str):
                raise InvalidDocumentError(
                    f"HashingEmbeddingProvider embeds text only, not {shorten(chunk.content)}; "
                    "use a provider for this kind of content"
                )
        return [self._embed_text(chunk.content) for chunk in chunks]

    def __repr__(self) -> str:
        return f"HashingEmbeddingProvider(dimension={self.dimension})"

    def _embed_text(self, text: str) -> Vector:
        weights = _weighted_features(text)
        codes = np.fromiter((crc32(name.encode()) for name in weights), np.uint64, len(weights))
        mixed = codes * _MIXER >> np.uint64(20)
        places = (mixed >> np.uint64(1)) % np.uint64(self.dimension)
        values = np.fromiter(weights.values(), np.float64, len(weights))
        signs = np.where(mixed & np.uint64(1), values, -values)
        vector = np.bincount(places.astype(np.int64), signs, self.dimension)
        if not vector.any():  # all features cancelled each other
            vector = np.bincount(places.astype(np.int64), values, self.dimension)
        # fsum is exact in any order; a BLAS norm may differ between platforms in the last bit.
        norm = math.sqrt(math.fsum((vector * vector).tolist()))
        return (vector / norm).astype(np.float32)


def _weighted_features(text: str) -> dict[str, float]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    if not words:  # punctuation only, or nothing: still a direction of its own
        return dict.fromkeys(text.split() or [""], 1.0)
    words = [word for word in words if word not in _FUNCTION_WORDS] or words
    pairs = (f"{one} {two}" for one, two in pairwise(words))
    grams = (gram for word in words for gram in _grams(f"<{word}>"))
    return {
        **_weigh(words, _WORD_WEIGHT),
        **_weigh(pairs, _PAIR_WEIGHT),
        **_weigh(grams, _GRAM_WEIGHT),
    }


def _grams(word: str) -> Iterator[str]:
    # The marks keep a gram from being taken for a word with the same letters.
    return (f"#{word[i : i + n]}" for n in (3, 4) for i in range(len(word) - n + 1))


def _weigh(features: Iterable[str], weight: float) -> dict[str, float]:
    # A root dampens repetition and, unlike a logarithm, is the same on every platform.
    return {name: weight * math.sqrt(count) for name, count in Counter(features).items()}
