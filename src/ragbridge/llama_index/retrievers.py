"""Retrievers: the core's as LlamaIndex's, and LlamaIndex's as the core's."""

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters as LlamaIndexFilters

from ragbridge.errors import UnsupportedQueryError
from ragbridge.filters import Filter, matches
from ragbridge.llama_index.documents import from_llama_index_node, to_llama_index_node
from ragbridge.llama_index.filters import from_llama_index_filters
from ragbridge.retrievers import (
    QueryMatch,
    Retriever,
    check_kind,
    check_query_text,
    check_query_texts,
)
from ragbridge.stores.base import VectorStoreQuery

__all__ = ["LlamaIndexRetriever", "RagbridgeRetriever"]

_dispatcher = get_dispatcher(__name__)


class RagbridgeRetriever(BaseRetriever):
    """A core retriever, or a knowledge base, as a LlamaIndex retriever.

    The core retriever embeds the query itself: of a `QueryBundle` it takes the text, and refuses
    other texts to embed (`custom_embedding_strs`) and images. Events, callbacks and the following of
    index nodes are LlamaIndex's.

    Args:
        retriever: The core retriever.
        similarity_top_k: How many nodes at the most; -1 for all of them.
        filters: What the nodes' metadata must fulfil: LlamaIndex's filters or the core's.
        settings: The arguments of LlamaIndex's `BaseRetriever`: `callback_manager`, `object_map`,
            `objects`, `verbose`.

    Raises:
        InvalidConfigError: `retriever` is no core retriever.
        InvalidQueryError: `similarity_top_k` is no number of nodes.
        InvalidFilterError: `filters` are none, or have no meaning.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        similarity_top_k: int = 10,
        filters: LlamaIndexFilters | Filter | None = None,
        **settings: Any,
    ) -> None:
        check_kind(retriever, Retriever, "retriever")
        super().__init__(**settings)
        self.retriever = retriever
        self.similarity_top_k = similarity_top_k
        self.filters = from_llama_index_filters(filters)
        VectorStoreQuery(top_k=similarity_top_k)  # refuses what is no number of matches

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        text = _text_of(query_bundle)
        found = self.retriever.retrieve(text, self.similarity_top_k, self.filters)
        return [_with_score(match) for match in found]

    @_dispatcher.span
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        text = _text_of(query_bundle)
        found = await self.retriever.aretrieve(text, self.similarity_top_k, self.filters)
        return [_with_score(match) for match in found]


class LlamaIndexRetriever(Retriever):
    """A LlamaIndex retriever as a core retriever.

    What can be found is what the LlamaIndex retriever finds for a query: how many nodes that are is set
    where it is made. `top_k` takes the best of them, and filters those whose metadata fulfil them. For
    filters that the store itself evaluates, over all of its rows, use a `VectorRetriever` over
    `LlamaIndexVectorStore`.

    Args:
        retriever: The LlamaIndex retriever. Where it gives no score, it is 0.0.

    Raises:
        InvalidConfigError: it is no LlamaIndex retriever.
    """

    def __init__(self, retriever: BaseRetriever) -> None:
        check_kind(retriever, BaseRetriever, "retriever")
        self.retriever = retriever

    def retrieve(
        self, query: str, top_k: int = 10, filters: Filter | None = None
    ) -> list[QueryMatch]:
        """The nodes that it finds, in its order.

        Args:
            query: The question or the words to look for; not blank.
            top_k: How many matches at the most; -1 for all that it finds.
            filters: What the nodes' metadata must fulfil.

        Raises:
            InvalidQueryError: an argument is wrong; the message names it.
        """
        asked = _asked(query, top_k, filters)
        return _matches(self.retriever.retrieve(query), asked)

    def retrieve_many(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[list[QueryMatch]]:
        """One list of matches for each query, in their order.

        Raises:
            InvalidQueryError: queries is no list of strings; see `retrieve` for the rest.
        """
        return [self.retrieve(each, top_k, filters) for each in check_query_texts(queries)]

    async def aretrieve(
        self, query: str, top_k: int = 10, filters: Filter | None = None
    ) -> list[QueryMatch]:
        """Async twin of `retrieve`."""
        asked = _asked(query, top_k, filters)
        return _matches(await self.retriever.aretrieve(query), asked)

    async def aretrieve_many(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[list[QueryMatch]]:
        """Async twin of `retrieve_many`: the queries are asked at the same time."""
        texts = check_query_texts(queries)
        return await asyncio.gather(*(self.aretrieve(each, top_k, filters) for each in texts))


def _asked(query: str, top_k: int, filters: Filter | None) -> VectorStoreQuery:
    """What is asked of a retriever, checked as what is asked of a store."""
    return VectorStoreQuery(text=check_query_text(query), top_k=top_k, filters=filters)


def _matches(found: Sequence[NodeWithScore], asked: VectorStoreQuery) -> list[QueryMatch]:
    selected = [
        match for match in map(_match, found) if matches(asked.filters, match.chunk.metadata)
    ]
    return selected if asked.top_k == -1 else selected[: asked.top_k]


def _text_of(query: QueryBundle) -> str:
    if query.custom_embedding_strs not in (None, [query.query_str]):
        raise UnsupportedQueryError(
            "a core retriever embeds the query itself, not custom_embedding_strs; use "
            "VectorStoreIndex.from_vector_store(RagbridgeVectorStore(...)) for them"
        )
    if query.image_path is not None:
        raise UnsupportedQueryError("a core retriever takes a text, not an image_path")
    return query.query_str


def _with_score(match: QueryMatch) -> NodeWithScore:
    return NodeWithScore(node=to_llama_index_node(match), score=match.similarity_score)


def _match(found: NodeWithScore) -> QueryMatch:
    entry = from_llama_index_node(found.node)
    return QueryMatch(
        id=entry.id,
        chunk=entry.chunk,
        similarity_score=0.0 if found.score is None else float(found.score),
        framework_data=entry.framework_data,
    )
