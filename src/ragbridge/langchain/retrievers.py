"""Retrievers: the core's as LangChain's, and LangChain's as the core's."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.vectorstores import VectorStoreRetriever

from ragbridge._twins import Step, Work, arun, run
from ragbridge.embeddings import EmbeddingProvider
from ragbridge.errors import InvalidConfigError, shorten
from ragbridge.filters import Filter, matches
from ragbridge.langchain._arguments import check_k, refuse_unknown
from ragbridge.langchain._batching import BatchedRetriever
from ragbridge.langchain._packing import unpack
from ragbridge.langchain.documents import to_langchain_documents
from ragbridge.langchain.embeddings import as_embedding_provider, as_langchain_embeddings
from ragbridge.langchain.filters import as_filter
from ragbridge.langchain.vector_store import RagbridgeVectorStore, RagbridgeVectorStoreRetriever
from ragbridge.retrievers import (
    QueryMatch,
    Retriever,
    VectorRetriever,
    check_kind,
    check_query_text,
    check_query_texts,
)
from ragbridge.stores.base import VectorEntry, VectorStore, VectorStoreQuery

__all__ = ["LangChainRetriever", "RagbridgeRetriever"]

_SETTINGS: Final = ("leg_top_k", "min_score", "options", "ranker", "search_mode")


class RagbridgeRetriever(BatchedRetriever):
    """A core retriever as a LangChain retriever.

    `invoke`, `batch` and their async twins take `k`, `filter` and `score_key` as keywords; a `filter`
    given there must hold beside the retriever's own. `batch` asks for all queries at once: one
    embedding call, one search.

    Args:
        retriever: Who is asked: a core retriever, a knowledge base, a `RagbridgeVectorStore`, or a
            core store.
        embedding: Embeds the queries to a core store: a LangChain model or a core provider.
        **fields: The attributes below, `name`, `tags` and `metadata`; beside a core store also what
            `search_mode`, `ranker`, `leg_top_k`, `min_score` and `options`; see
            `ragbridge.VectorRetriever`.

    Attributes:
        retriever: The core retriever.
        k: How many documents at the most.
        filter: What the documents' metadata must fulfil: a core filter, a dict such as
            `{"price": {"$lt": 100}}`, or a structured query's `FilterDirective`.
        document_id_key: The metadata key that gets the core's document id.
        score_key: The metadata key that gets the score: higher is better, always. By default scores
            are not in the metadata.

    Raises:
        InvalidConfigError: an argument is wrong; the message names it.
        InvalidQueryError: an argument is unknown, or k is no positive integer.
        InvalidFilterError: the filter has no meaning.
    """

    retriever: Retriever
    k: int = 4
    filter: Filter | None = None
    document_id_key: str | None = None
    score_key: str | None = None

    def __init__(
        self,
        retriever: Retriever | RagbridgeVectorStore | VectorStore,
        embedding: Embeddings | EmbeddingProvider | None = None,
        **fields: Any,
    ) -> None:
        own = {name: fields.pop(name) for name in type(self).model_fields if name in fields}
        own["k"] = check_k(own.get("k", 4))
        own["filter"] = as_filter(own.get("filter"))
        for name in ("document_id_key", "score_key"):
            _check_key(own.get(name), name)
        if isinstance(retriever, RagbridgeVectorStore):
            own.setdefault("document_id_key", retriever.document_id_key)
        core = _core_retriever(retriever, embedding, fields)
        super().__init__(retriever=core, **own)

    def _answers(self, queries: list[str], arguments: dict[str, Any]) -> Work[list[list[Document]]]:
        refuse_unknown(arguments, ("filter", "k", "score_key"))
        k = check_k(arguments.get("k", self.k))
        filters = _both(self.filter, as_filter(arguments.get("filter")))
        score_key = arguments.get("score_key", self.score_key)
        core = self.retriever
        found = yield from Step(core.retrieve_many, core.aretrieve_many, queries, k, filters)
        keys = {"document_id_key": self.document_id_key, "score_key": score_key}
        return [to_langchain_documents(matches, **keys) for matches in found]

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        if isinstance(self.retriever, VectorRetriever):
            params["ls_vector_store_provider"] = type(self.retriever.vector_store).__name__
            if (provider := self.retriever.embedding_provider) is not None:
                embeddings = as_langchain_embeddings(provider)
                params["ls_embedding_provider"] = type(embeddings).__name__
        return params


class LangChainRetriever(Retriever):
    """A LangChain retriever as a core retriever.

    Those that are made of a vector store (`as_retriever`), and ragbridge's own, are asked for as many
    documents as `top_k` and the filters take. What can be found by any other is what it finds for a
    query: `top_k` takes the best of that, and filters those whose metadata fulfil them.

    LangChain's retrievers give no scores; without a `score_key` the score is 0.0, and the order theirs.

    Args:
        retriever: The LangChain retriever.
        score_key: The metadata key under which documents have a score, higher for better ones.
        document_id_key: The metadata key under which documents name the one they are a part of.

    Raises:
        InvalidConfigError: it is no LangChain retriever, or a key is no string.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        *,
        score_key: str | None = None,
        document_id_key: str | None = None,
    ) -> None:
        check_kind(retriever, BaseRetriever, "retriever")
        _check_key(score_key, "score_key")
        _check_key(document_id_key, "document_id_key")
        self.retriever = retriever
        self._score_key = score_key
        self._document_id_key = document_id_key
        self._takes_k = isinstance(retriever, VectorStoreRetriever | RagbridgeRetriever)
        self._takes_filters = _takes_filters(retriever)

    def retrieve(
        self, query: str, top_k: int = 10, filters: Filter | None = None
    ) -> list[QueryMatch]:
        """The documents that it finds, in its order.

        Args:
            query: The question or the words to look for; not blank.
            top_k: How many matches at the most; -1 for all that it finds.
            filters: What the documents' metadata must fulfil.

        Raises:
            InvalidQueryError: an argument is wrong; the message names it.
        """
        return run(self._find(query, top_k, filters))

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
        return await arun(self._find(query, top_k, filters))

    async def aretrieve_many(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[list[QueryMatch]]:
        """Async twin of `retrieve_many`: the queries are asked at the same time."""
        texts = check_query_texts(queries)
        return await asyncio.gather(*(self.aretrieve(each, top_k, filters) for each in texts))

    def _find(self, query: str, top_k: int, filters: Filter | None) -> Work[list[QueryMatch]]:
        text = check_query_text(query)
        asked = VectorStoreQuery(text=text, top_k=top_k, filters=filters)
        told: dict[str, Any] = (
            {"filter": filters} if self._takes_filters and filters is not None else {}
        )
        is_whole = asked.top_k != -1 and (filters is None or told)
        k = asked.top_k if is_whole else max(_MORE * asked.top_k, _FIRST_CANDIDATES)
        while True:
            if self._takes_k:
                told["k"] = k
            documents = yield from self._ask(text, told)
            found = [
                each
                for each in map(self._match, documents)
                if each is not None and matches(filters, each.chunk.metadata)
            ]
            if not self._takes_k or len(documents) < k or len(found) >= asked.top_k > 0:
                return found if asked.top_k == -1 else found[: asked.top_k]
            k *= _MORE

    def _ask(self, text: str, told: dict[str, Any]) -> Work[list[Document]]:
        ask, aask = self.retriever.invoke, self.retriever.ainvoke
        return (yield from Step(lambda: ask(text, **told), lambda: aask(text, **told)))

    def _match(self, document: Document) -> QueryMatch | None:
        entry = VectorEntry(**unpack(document, self._document_id_key))
        if entry.deleted:
            return None
        score = document.metadata.get(self._score_key, 0.0) if self._score_key else 0.0
        return QueryMatch(
            id=entry.id,
            chunk=entry.chunk,
            similarity_score=float(score),
            framework_data=entry.framework_data,
        )


_FIRST_CANDIDATES: Final = 100
_MORE: Final = 4


def _takes_filters(retriever: BaseRetriever) -> bool:
    if isinstance(retriever, RagbridgeVectorStoreRetriever):
        return "filter" not in retriever.search_kwargs  # which a second one would replace
    return isinstance(retriever, RagbridgeRetriever)


def _core_retriever(
    given: object, embedding: Embeddings | EmbeddingProvider | None, settings: dict[str, Any]
) -> Retriever:
    is_store = isinstance(given, VectorStore)
    refuse_unknown(settings, _SETTINGS if is_store else ())
    if isinstance(given, VectorStore):
        mode = settings.pop("search_mode", None)
        return VectorRetriever(given, as_embedding_provider(embedding), mode=mode, **settings)
    if embedding is not None:
        raise InvalidConfigError(
            f"embedding goes with a core store, but a {type(given).__name__} embeds by itself"
        )
    if isinstance(given, RagbridgeVectorStore):
        return given.retriever()
    if isinstance(given, Retriever):
        return given
    raise InvalidConfigError(
        "retriever must be a core Retriever, a RagbridgeVectorStore or a core VectorStore, not "
        f"{shorten(given)}"
    )


def _check_key(key: object, name: str) -> None:
    if key is not None and not isinstance(key, str):
        raise InvalidConfigError(f"{name} must be a string or None, not {shorten(key)}")


def _both(own: Filter | None, given: Filter | None) -> Filter | None:
    if own is None or given is None:
        return given if own is None else own
    return own & given
