"""The contract of every vector store, and the values that go in and out of one."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from math import isfinite
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from ragbridge.documents import Chunk, JsonValue, validate_metadata
from ragbridge.embeddings import (
    Embedding,
    EmbeddingLike,
    as_embedding,
    compared_part,
    same_embedding,
    sparse_part,
)
from ragbridge.errors import (
    InvalidConfigError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidQueryError,
    shorten,
)
from ragbridge.filters import Filter
from ragbridge.stores._ranking import (
    Ranker,
    RRFRanker,
    WeightedRanker,
    maximal_marginal_relevance,
)

__all__ = [
    "Capability",
    "Leg",
    "RRFRanker",
    "Ranker",
    "SimilarityMetric",
    "VectorEntry",
    "VectorMatch",
    "VectorStore",
    "VectorStoreQuery",
    "WeightedRanker",
    "maximal_marginal_relevance",
]


class SimilarityMetric(StrEnum):
    """How two dense or binary vectors are compared. Scores are always higher for better matches."""

    COSINE = "cosine"
    """The cosine of the angle, in [-1, 1]."""
    EUCLIDEAN = "euclidean"
    """1 / (1 + distance), in (0, 1], with the true (unsquared) distance."""
    DOT_PRODUCT = "dot_product"
    """The inner product, unbounded."""
    HAMMING = "hamming"
    """Of binary vectors: the share of bits that agree, in [0, 1]."""
    JACCARD = "jaccard"
    """Of binary vectors: the bits set in both / those set in either, in [0, 1]; 0 if none is set."""

    @property
    def is_binary(self) -> bool:
        """Whether it compares binary vectors, and no others."""
        return self in (SimilarityMetric.HAMMING, SimilarityMetric.JACCARD)

    def relevance(self, score: float) -> float:
        """`score` mapped to [0, 1]; inner products are taken for those of unit vectors."""
        if self is SimilarityMetric.EUCLIDEAN or self.is_binary:
            return score
        return min(1.0, max(0.0, (score + 1.0) / 2.0))


class Leg(StrEnum):
    """One way to search; a query with several legs is a hybrid search."""

    DENSE = "dense"
    SPARSE = "sparse"
    FULL_TEXT = "full_text"


class Capability(StrEnum):
    """What a store can serve: each of the legs, and several of them at once."""

    DENSE = "dense"
    SPARSE = "sparse"
    FULL_TEXT = "full_text"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorEntry:
    """One row of a store.

    Attributes:
        id: The row's id; None lets the store give it a new UUID.
        embedding: Its vector or vectors; lists and arrays become float32. None in a store that is
            searched by text only, and in answers without embeddings.
        chunk: The content with its metadata.
        framework_data: What a framework needs to rebuild its own object. Carried, never
            interpreted, never filterable.
        deleted: Soft-deleted: left out of every answer unless asked for.

    Raises:
        InvalidInputError: a field is wrong; the message names it.
    """

    id: str | None = None
    embedding: Embedding | None = None
    chunk: Chunk
    framework_data: dict[str, JsonValue] = field(default_factory=dict)
    deleted: bool = False

    def __init__(
        self,
        *,
        chunk: Chunk,
        id: str | None = None,
        embedding: EmbeddingLike | None = None,
        framework_data: Mapping[str, Any] | None = None,
        deleted: bool = False,
    ) -> None:
        if not isinstance(chunk, Chunk):
            raise InvalidDocumentError(f"chunk must be a Chunk, not {shorten(chunk)}")
        if not isinstance(deleted, bool):
            raise InvalidInputError(f"deleted must be True or False, not {shorten(deleted)}")
        put = object.__setattr__
        put(self, "id", None if id is None else check_id(id))
        put(self, "embedding", None if embedding is None else as_embedding(embedding))
        put(self, "chunk", chunk)
        put(self, "framework_data", _check_framework_data(framework_data))
        put(self, "deleted", deleted)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VectorEntry) or type(other) is not type(self):
            return NotImplemented
        return self._plain() == other._plain() and same_embedding(self.embedding, other.embedding)

    def _plain(self) -> tuple[Any, ...]:
        return (self.id, self.chunk, self.framework_data, self.deleted)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorMatch(VectorEntry):
    """A row that a query found.

    Attributes:
        similarity_score: Higher is better, always; see `SimilarityMetric`. 0.0 in a listing.
    """

    similarity_score: float

    def __init__(self, *, similarity_score: float, **entry: Any) -> None:
        VectorEntry.__init__(self, **entry)
        object.__setattr__(self, "similarity_score", float(similarity_score))

    def _plain(self) -> tuple[Any, ...]:
        return (*VectorEntry._plain(self), self.similarity_score)


DEFAULT_RANKER = RRFRanker()
_DENSE_ALONE = (Leg.DENSE,)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorStoreQuery:
    """What is asked of a store.

    A query has legs: a dense vector, a sparse vector, a text. One leg is a plain search, several
    are a hybrid search fused by `ranker`, none is a listing by filter (score 0.0, ordered by id).

    Attributes:
        embedding: The dense, binary, sparse or hybrid query vector; lists and arrays become float32.
        text: The full-text query.
        filters: What the metadata must fulfil.
        top_k: How many matches at the most; -1 for all of them.
        ids: Only these rows; None restricts nothing, an empty list selects nothing.
        document_ids: Only rows of these documents; likewise.
        ranker: Fuses the legs of a hybrid search.
        leg_top_k: Candidates per leg of a hybrid search; by default 100 or `top_k`, if larger.
        min_score: Only matches with at least this score.
        include_embeddings: Return the vectors too.
        include_deleted: Return soft-deleted rows too.
        options: The store's own settings; a store refuses those that it does not know.
        legs: The legs this query has, in the order dense, sparse, full text.

    Raises:
        InvalidQueryError: a field is wrong; the message names it.
    """

    embedding: EmbeddingLike | None = None
    text: str | None = None
    filters: Filter | None = None
    top_k: int = 10
    ids: Sequence[str] | None = None
    document_ids: Sequence[str] | None = None
    ranker: Ranker = DEFAULT_RANKER
    leg_top_k: Mapping[Leg, int] | None = None
    min_score: float | None = None
    include_embeddings: bool = False
    include_deleted: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    legs: tuple[Leg, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.embedding is not None:
            put(self, "embedding", as_embedding(self.embedding))
        if self.text is not None and not isinstance(self.text, str):
            raise InvalidQueryError(f"text must be a string or None, not {shorten(self.text)}")
        check_top_k(self.top_k, "top_k")
        put(self, "filters", check_filters(self.filters))
        put(self, "ids", check_ids(self.ids, "ids"))
        put(self, "document_ids", check_ids(self.document_ids, "document_ids"))
        if not isinstance(self.ranker, RRFRanker | WeightedRanker):
            raise InvalidQueryError(
                f"ranker must be an RRFRanker or a WeightedRanker, not {shorten(self.ranker)}"
            )
        put(self, "leg_top_k", _check_leg_top_k(self.leg_top_k))
        if self.min_score is not None and not _is_finite(self.min_score):
            raise InvalidQueryError(
                f"min_score must be a finite number or None, not {shorten(self.min_score)}"
            )
        if not isinstance(self.options, (dict, Mapping)):  # a dict is told sooner than a Mapping
            raise InvalidQueryError(f"options must be a mapping, not {shorten(self.options)}")
        put(self, "legs", self._find_legs())

    def asking(self, **checked: Any) -> "VectorStoreQuery":
        """The same with other fields, which were checked already: nothing is checked again."""
        made, put = object.__new__(type(self)), object.__setattr__
        for name in type(self).__slots__:
            put(made, name, getattr(self, name))
        for name in checked:
            put(made, name, checked[name])
        put(made, "legs", made._find_legs())
        return made

    def _find_legs(self) -> tuple[Leg, ...]:
        is_plain = isinstance(self.embedding, np.ndarray) and self.text is None
        return _DENSE_ALONE if is_plain else tuple(self._legs())

    def _legs(self) -> Iterator[Leg]:
        if compared_part(self.embedding) is not None:
            yield Leg.DENSE
        if sparse_part(self.embedding) is not None:
            yield Leg.SPARSE
        if self.text is not None:
            yield Leg.FULL_TEXT


class VectorStore(ABC):
    """Rows with vectors, searched by vector, by text and by filter.

    Every method has an async twin with the prefix `a`. The twins here run the sync method in a
    thread; a store with an async client of its own overrides them. Writes are upserts by id and are
    seen by every later read in the same process. Matches with equal scores are ordered by id.

    Attributes:
        metric: How dense or binary vectors are compared; it says which of them the store takes.
        capabilities: The legs it serves, and whether it serves several at once.
    """

    metric: SimilarityMetric
    capabilities: frozenset[Capability]

    @abstractmethod
    def add(self, entries: Sequence[VectorEntry]) -> list[str]:
        """Put `entries` in, replacing rows with the same id whole; returns the ids in order.

        Of entries with the same id in one call the last wins. The first add fixes which vectors the
        store holds, and their dimension.

        Raises:
            InvalidEmbeddingError: an entry lacks a vector that the store holds, has one that it
                does not hold or its metric does not compare, or one of another dimension; a zero dense
                vector under COSINE; an empty or non-positive sparse vector. Nothing is written then.
            PartialWriteError: the store failed in the middle; it holds what is in and what is not.
        """

    @abstractmethod
    def query(self, query: VectorStoreQuery) -> list[VectorMatch]:
        """The best matches, best first.

        Raises:
            UnsupportedQueryError: the store has no such leg, or does not know an option.
            UnsupportedFilterError: the store cannot evaluate the filter at all.
            InvalidEmbeddingError: the query vector has another dimension, is zero under COSINE, or is
                none that the metric compares.
        """

    def query_many(self, queries: Sequence[VectorStoreQuery]) -> list[list[VectorMatch]]:
        """One list of matches for each query, in their order; batched where the store can."""
        return [self.query(query) for query in queries]

    @abstractmethod
    def get(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        """The rows with these ids and their vectors, in the order asked.

        Unknown ids are left out; a row whose id is repeated is given once.
        """

    @abstractmethod
    def scan(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        batch_size: int = 1000,
        include_embeddings: bool = True,
        include_deleted: bool = False,
    ) -> Iterator[VectorEntry]:
        """Every row that fulfils all that is given, in no particular order, read in batches.

        Rows that are written during a scan may or may not be seen; no row is seen twice.
        """

    @abstractmethod
    def delete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        """Remove the rows with these ids for good.

        Raises:
            EntryNotFoundError: `missing_ok` is false and an id is unknown; nothing is removed then.
        """

    @abstractmethod
    def delete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        """Remove every row that fulfils all that is given, soft-deleted ones too; returns how many.

        Raises:
            InvalidQueryError: nothing is given that restricts; `clear` empties a store.
        """

    @abstractmethod
    def count(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """How many rows fulfil all that is given."""

    @abstractmethod
    def clear(self) -> None:
        """Remove every row; the store is usable at once and keeps the shape of its vectors."""

    @abstractmethod
    def close(self) -> None:
        """Release what the store holds; closing twice is fine, other calls raise StoreClosedError."""

    def to_dict(self) -> dict[str, JsonValue]:
        """What `ragbridge.stores.restore_vector_store` makes the store of again, as JSON.

        It has the rows of a store in memory, and the address of others, but no secrets.

        Raises:
            InvalidConfigError: stores of this class cannot be described.
        """
        raise InvalidConfigError(
            f"a {type(self).__name__} has no description; give it to_dict() and from_dict(), or make it "
            "anew where it is needed"
        )

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> "VectorStore":
        """The store that `to_dict` described; see `ragbridge.stores.restore_vector_store`."""
        raise InvalidConfigError(f"a {cls.__name__} cannot be made of {shorten(description)}")

    async def aadd(self, entries: Sequence[VectorEntry]) -> list[str]:
        """Async twin of `add`."""
        return await asyncio.to_thread(self.add, entries)

    async def aquery(self, query: VectorStoreQuery) -> list[VectorMatch]:
        """Async twin of `query`."""
        return await asyncio.to_thread(self.query, query)

    async def aquery_many(self, queries: Sequence[VectorStoreQuery]) -> list[list[VectorMatch]]:
        """Async twin of `query_many`."""
        return await asyncio.to_thread(self.query_many, queries)

    async def aget(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        """Async twin of `get`."""
        return await asyncio.to_thread(self.get, ids, include_deleted=include_deleted)

    async def ascan(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        batch_size: int = 1000,
        include_embeddings: bool = True,
        include_deleted: bool = False,
    ) -> AsyncIterator[VectorEntry]:
        """Async twin of `scan`."""
        check_batch_size(batch_size)
        rows = self.scan(
            filters,
            ids=ids,
            document_ids=document_ids,
            batch_size=batch_size,
            include_embeddings=include_embeddings,
            include_deleted=include_deleted,
        )
        while batch := await asyncio.to_thread(lambda: list(islice(rows, batch_size))):
            for entry in batch:
                yield entry

    async def adelete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        """Async twin of `delete`."""
        await asyncio.to_thread(self.delete, ids, missing_ok=missing_ok)

    async def adelete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        """Async twin of `delete_by_filter`."""
        return await asyncio.to_thread(
            self.delete_by_filter, filters, ids=ids, document_ids=document_ids
        )

    async def acount(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """Async twin of `count`."""
        return await asyncio.to_thread(
            self.count,
            filters,
            ids=ids,
            document_ids=document_ids,
            include_deleted=include_deleted,
        )

    async def aclear(self) -> None:
        """Async twin of `clear`."""
        await asyncio.to_thread(self.clear)

    async def aclose(self) -> None:
        """Async twin of `close`."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def check_id(value: object, name: str = "id") -> str:
    """`value` as an id.

    Raises:
        InvalidQueryError: no string, empty, or no Unicode text.
    """
    if not isinstance(value, str) or not value:
        raise InvalidQueryError(f"{name} must be a non-empty string, not {shorten(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidQueryError(
                f"{name} holds a lone surrogate: {ascii(value)[:60]}"
            ) from error
    return value


def check_ids(values: object, name: str) -> tuple[str, ...] | None:
    """`values` as a restriction: None, or a tuple of ids without repeats, in order.

    Raises:
        InvalidQueryError: a single string, no sequence, or an item that is no id.
    """
    if values is None:
        return None
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise InvalidQueryError(f"{name} must be a list of ids or None, not {shorten(values)}")
    return tuple(dict.fromkeys(check_id(value, f"an item of {name}") for value in values))


def check_filters(filters: object) -> Filter | None:
    """`filters` as a filter or None.

    Raises:
        InvalidQueryError: anything else.
    """
    if filters is None or isinstance(filters, Filter):
        return filters
    raise InvalidQueryError(
        f"filters must be MetadataFilters or None, not {shorten(filters)}; see ragbridge.where"
    )


def check_top_k(value: object, name: str) -> int:
    """`value` as a number of matches.

    Raises:
        InvalidQueryError: neither a positive integer nor -1.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise InvalidQueryError(f"{name} must be an integer, not {shorten(value)}")
    if value < 1 and value != -1:
        raise InvalidQueryError(f"{name} must be at least 1, or -1 for all, not {value}")
    return int(value)


def check_batch_size(value: object) -> int:
    """`value` as a batch size.

    Raises:
        InvalidQueryError: no positive integer.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidQueryError(f"batch_size must be a positive integer, not {shorten(value)}")
    return value


def _check_leg_top_k(value: object) -> Mapping[Leg, int] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidQueryError(f"leg_top_k must be a mapping of legs, not {shorten(value)}")
    try:
        limits = {Leg(leg): k for leg, k in value.items()}
    except ValueError as error:
        raise InvalidQueryError(f"leg_top_k must be keyed by {', '.join(Leg)}: {error}") from error
    return {leg: check_top_k(k, f"leg_top_k[{str(leg)!r}]") for leg, k in limits.items()}


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _check_framework_data(data: Mapping[str, Any] | None) -> dict[str, JsonValue]:
    if not data:
        return {}
    try:
        return validate_metadata(data)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"framework_data: {error}") from error
