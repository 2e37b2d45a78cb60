"""Retrievers: a question in, matching chunks out."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final

from ragbridge._twins import Step, Work, arun, run
from ragbridge.documents import Chunk, JsonValue
from ragbridge.embeddings import (
    Embedding,
    EmbeddingProvider,
    check_embeddings,
    compared_part,
    sparse_part,
)
from ragbridge.errors import (
    InvalidConfigError,
    InvalidEmbeddingError,
    InvalidQueryError,
    UnsupportedQueryError,
    shorten,
)
from ragbridge.filters import Filter
from ragbridge.stores.base import (
    DEFAULT_RANKER,
    Capability,
    Leg,
    Ranker,
    VectorMatch,
    VectorStore,
    VectorStoreQuery,
    check_filters,
    check_top_k,
)

__all__ = ["QueryMatch", "Retriever", "SearchMode", "VectorRetriever"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryMatch:
    """A chunk that answers a query.

    Attributes:
        id: The id of the chunk's row, or None where the source has none.
        chunk: The content with its metadata.
        similarity_score: Higher is better; what it means depends on the search.
        framework_data: What a framework needs to rebuild its own object.
    """

    id: str | None = None
    chunk: Chunk
    similarity_score: float
    framework_data: dict[str, JsonValue] = field(default_factory=dict)

    @classmethod
    def from_vector_match(cls, match: VectorMatch) -> "QueryMatch":
        """What a store found."""
        return cls(
            id=match.id,
            chunk=match.chunk,
            similarity_score=match.similarity_score,
            framework_data=match.framework_data,
        )


class Retriever(ABC):
    """Finds the chunks that answer a query.

    Only `retrieve` must be written. The async twins run the sync methods in a thread unless
    overridden.
    """

    @abstractmethod
    def retrieve(
        self, query: str, top_k: int = 10, filters: Filter | None = None
    ) -> list[QueryMatch]:
        """The best matches for `query`, best first.

        Args:
            query: The question or the words to look for.
            top_k: How many matches at the most; -1 for all of them.
            filters: What the chunks' metadata must fulfil.

        Raises:
            InvalidQueryError: an argument is wrong; the message names it.
        """

    def retrieve_many(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[list[QueryMatch]]:
        """One list of matches for each query, in their order; batched where the source can."""
        return [self.retrieve(query, top_k, filters) for query in queries]

    async def aretrieve(
        self, query: str, top_k: int = 10, filters: Filter | None = None
    ) -> list[QueryMatch]:
        """Async twin of `retrieve`."""
        return await asyncio.to_thread(self.retrieve, query, top_k, filters)

    async def aretrieve_many(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[list[QueryMatch]]:
        """Async twin of `retrieve_many`."""
        return await asyncio.to_thread(self.retrieve_many, queries, top_k, filters)


class SearchMode(StrEnum):
    """How a `VectorRetriever` searches."""

    DENSE = "dense"
    """By the provider's dense vector."""
    SPARSE = "sparse"
    """By the provider's sparse vector."""
    FULL_TEXT = "full_text"
    """By the words of the query; needs no provider."""
    HYBRID = "hybrid"
    """By all that the provider yields and by the words, fused by the ranker."""


_NEEDS: Final[Mapping[SearchMode | None, tuple[Capability, ...]]] = {
    SearchMode.DENSE: (Capability.DENSE,),
    SearchMode.SPARSE: (Capability.SPARSE,),
    SearchMode.FULL_TEXT: (Capability.FULL_TEXT,),
    SearchMode.HYBRID: (Capability.FULL_TEXT, Capability.HYBRID),
}


class VectorRetriever(Retriever):
    """Retrieves from a vector store.

    Args:
        vector_store: Where the rows are.
        embedding_provider: Embeds the queries; it must be the one that embedded the rows.
        mode: How to search. By default with whatever vectors the provider yields, dense, sparse or
            both; without a provider by full text.
        ranker: Fuses the legs of a hybrid search.
        leg_top_k: Candidates per leg of a hybrid search.
        min_score: Only matches with at least this score.
        options: The store's own search settings.

    Raises:
        InvalidConfigError: the mode needs a provider, or an argument is of the wrong kind.
        UnsupportedQueryError: the store cannot search in this mode.
        InvalidQueryError: ranker, leg_top_k or min_score is wrong.
    """

    def __init__(
        self,
        vector_store: VectorStore,
        embedding_provider: EmbeddingProvider | None = None,
        *,
        mode: SearchMode | str | None = None,
        ranker: Ranker = DEFAULT_RANKER,
        leg_top_k: Mapping[Leg, int] | None = None,
        min_score: float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        check_kind(vector_store, VectorStore, "vector_store")
        if embedding_provider is not None:
            check_kind(embedding_provider, EmbeddingProvider, "embedding_provider")
        self.vector_store = vector_store
        self.embedding_provider = embedding_provider
        self.mode = resolve_mode(mode, embedding_provider)
        _check_capabilities(self.mode, vector_store)
        self._settings = VectorStoreQuery(
            ranker=ranker, leg_top_k=leg_top_k, min_score=min_score, options=dict(options or {})
        )

    def retrieve(
        self, query: str, top_k: int = 10, filters: Filter | None = None
    ) -> list[QueryMatch]:
        """The best matches for `query`, best first.

        Args:
            query: The question or the words to look for; not blank.
            top_k: How many matches at the most; -1 for all of them.
            filters: What the chunks' metadata must fulfil.

        Raises:
            InvalidQueryError: an argument is wrong; the message names it.
            InvalidEmbeddingError: the provider's vector does not fit the mode or the store.
            UnsupportedQueryError: the store does not serve a leg or an option of the query.
            UnsupportedFilterError: the store cannot evaluate the filter.
        """
        return run(self._search([query], top_k, filters))[0]

    def retrieve_many(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[list[QueryMatch]]:
        """One list of matches for each query, in their order: one embedding call, one search.

        Raises:
            InvalidQueryError: queries is no list of strings; see `retrieve` for the rest.
        """
        return run(self._search(queries, top_k, filters))

    async def aretrieve(
        self, query: str, top_k: int = 10, filters: Filter | None = None
    ) -> list[QueryMatch]:
        """Async twin of `retrieve`."""
        return (await arun(self._search([query], top_k, filters)))[0]

    async def aretrieve_many(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[list[QueryMatch]]:
        """Async twin of `retrieve_many`."""
        return await arun(self._search(queries, top_k, filters))

    def plan(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[VectorStoreQuery]:
        """What the store is asked for `queries`, in their order, with their embeddings.

        For callers that ask the store themselves: for embeddings of what is found, or for soft-deleted
        rows.

        Raises:
            InvalidQueryError: queries is no list of strings; see `retrieve` for the rest.
        """
        return run(self.planning(queries, top_k, filters))

    async def aplan(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[VectorStoreQuery]:
        """Async twin of `plan`."""
        return await arun(self.planning(queries, top_k, filters))

    def planning(
        self, queries: Sequence[str], top_k: int, filters: Filter | None
    ) -> Work[list[VectorStoreQuery]]:
        """What `plan` and `aplan` do, for callers that are described for both ways too."""
        # Made before the embedding call, so that a wrong argument costs nothing.
        checked = {"top_k": check_top_k(top_k, "top_k"), "filters": check_filters(filters)}
        ask = partial(self._settings.asking, **checked)
        texts = check_query_texts(queries)
        if not texts or self.embedding_provider is None or self.mode is SearchMode.FULL_TEXT:
            return [ask(text=text) for text in texts]
        vectors = yield from self._embed(texts, self.embedding_provider)
        is_hybrid = self.mode is SearchMode.HYBRID
        return [
            ask(embedding=vector, text=text if is_hybrid else None)
            for text, vector in zip(texts, vectors, strict=True)
        ]

    def _search(
        self, queries: Sequence[str], top_k: int, filters: Filter | None
    ) -> Work[list[list[QueryMatch]]]:
        requests = yield from self.planning(queries, top_k, filters)
        if not requests:
            return []
        store = self.vector_store
        found = yield from Step(store.query_many, store.aquery_many, requests)
        return [[QueryMatch.from_vector_match(match) for match in matches] for matches in found]

    def _embed(self, texts: list[str], provider: EmbeddingProvider) -> Work[list[Embedding]]:
        made = yield from Step(provider.batch_embed_queries, provider.abatch_embed_queries, texts)
        vectors = check_embeddings(made, len(texts), provider)
        find = _PARTS.get(self.mode)
        return vectors if find is None else [self._part(vector, find) for vector in vectors]

    def _part(
        self, embedding: Embedding, find: Callable[[Embedding], Embedding | None]
    ) -> Embedding:
        part = find(embedding)
        if part is None:
            raise InvalidEmbeddingError(
                f"mode is {str(self.mode)!r}, but {type(self.embedding_provider).__name__} yields "
                f"no {self.mode} vector; use another provider, or mode=None for what it yields"
            )
        return part


_PARTS: Final[Mapping[SearchMode | None, Callable[[Embedding], Embedding | None]]] = {
    SearchMode.DENSE: compared_part,
    SearchMode.SPARSE: sparse_part,
}


def check_kind(value: object, kind: type, name: str) -> None:
    """Refuse an argument of another kind.

    Raises:
        InvalidConfigError: `value` is no `kind`.
    """
    if not isinstance(value, kind):
        raise InvalidConfigError(f"{name} must be of type {kind.__name__}, not {shorten(value)}")


def resolve_mode(
    mode: object, provider: EmbeddingProvider | None, name: str = "mode"
) -> SearchMode | None:
    """`mode` as a SearchMode; None where the provider's vectors decide.

    Raises:
        InvalidConfigError: it is none, or needs a provider; the message names it by `name`.
    """
    if mode is None:
        return None if provider else SearchMode.FULL_TEXT
    try:
        resolved = SearchMode(mode)  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidConfigError(
            f"{name} must be one of {', '.join(SearchMode)} or None, not {shorten(mode)}"
        ) from error
    if provider is None and resolved is not SearchMode.FULL_TEXT:
        raise InvalidConfigError(
            f"{name} {str(resolved)!r} needs an embedding_provider, but there is none; give one, or "
            f"use {name}='full_text'"
        )
    return resolved


def _check_capabilities(mode: SearchMode | None, store: VectorStore) -> None:
    if mode is None and store.capabilities & {Capability.DENSE, Capability.SPARSE}:
        return
    missing = [
        leg for leg in _NEEDS.get(mode, (Capability.DENSE,)) if leg not in store.capabilities
    ]
    if missing:
        raise UnsupportedQueryError(
            f"{type(store).__name__} has no {missing[0]} search, which "
            f"{'mode ' + repr(str(mode)) if mode else 'an embedding_provider'} needs; "
            f"it serves {', '.join(sorted(store.capabilities)) or 'nothing'}"
        )


def check_query_texts(queries: object) -> list[str]:
    """`queries` as a list of texts that are not blank.

    Raises:
        InvalidQueryError: anything else.
    """
    # A list is told sooner than an Iterable.
    if isinstance(queries, str) or not isinstance(queries, (list, Iterable)):
        raise InvalidQueryError(f"queries must be a list of strings, not {shorten(queries)}")
    return [check_query_text(query) for query in queries]


def check_query_text(query: object) -> str:
    """`query` as a text that is not blank.

    Raises:
        InvalidQueryError: anything else.
    """
    if not isinstance(query, str):
        raise InvalidQueryError(f"query must be a string, not {shorten(query)}")
    if not query.strip():
        raise InvalidQueryError(f"query must not be blank, but it is {query!r}")
    return query
