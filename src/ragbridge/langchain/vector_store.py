"""A core store as a LangChain vector store."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any, Final, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from ragbridge._adapting import as_vector_store, diverse
from ragbridge._twins import Step, Work, arun, run
from ragbridge.documents import Chunk
from ragbridge.embeddings import (
    Embedding,
    EmbeddingLike,
    EmbeddingProvider,
    check_embeddings,
    dense_part,
)
from ragbridge.errors import (
    InvalidConfigError,
    InvalidDocumentError,
    InvalidQueryError,
    UnsupportedQueryError,
    shorten,
)
from ragbridge.filters import Filter
from ragbridge.langchain._batching import BatchedRetriever
from ragbridge.langchain._searching import (
    SearchArguments,
    check_k,
    check_list,
    check_same_length,
    check_score_threshold,
    refuse_unknown,
)
from ragbridge.langchain.documents import make_chunk, to_langchain_document
from ragbridge.langchain.embeddings import as_embedding_provider, as_langchain_embeddings
from ragbridge.langchain.filters import as_filter
from ragbridge.retrievers import SearchMode, VectorRetriever, resolve_mode
from ragbridge.stores import base
from ragbridge.stores.base import (
    DEFAULT_RANKER,
    Leg,
    Ranker,
    VectorEntry,
    VectorMatch,
    VectorStoreQuery,
)

__all__ = ["RagbridgeVectorStore", "RagbridgeVectorStoreRetriever"]

_K: Final = 4
_FETCH_K: Final = 20
_LAMBDA: Final = 0.5
_SEARCH_TYPES: Final = ("similarity", "similarity_score_threshold", "mmr")


class RagbridgeVectorStore(VectorStore):
    """A core store, with the model that embeds for it, as a LangChain vector store.

    Every method has a native async twin. `Document.id` is always set; metadata come back exactly as
    they were given. What another framework wrote into the store is found as well.

    Searches take, beside `k`, these keyword arguments:

    - `filter`: a core filter, a dict such as `{"price": {"$lt": 100}}`, or a structured query's
      `FilterDirective`.
    - `search_mode`, `ranker`, `leg_top_k`, `min_score`: as `ragbridge.VectorRetriever`; searches by
      vector take no `search_mode`.
    - `options`: the store's own settings; `expr=text` is short for `options={"expr": text}`, a raw
      expression in the language of the engine. A store refuses those that it does not know.

    Anything else is refused.

    Args:
        store: Where the rows are: a core store; an address (a path that ends in `.db`, or a server's
            URI); a store's config; None for a new store in memory.
        embedding: Embeds texts and queries: a LangChain model or a core provider. None: searches are
            full text.
        search_mode: How to search by text; see `ragbridge.SearchMode`. By default with whatever the
            model yields.
        ranker: Fuses the legs of a hybrid search.
        document_id_key: The metadata key under which the core's document id is read and written.
        **options: For making the store, e.g. `collection_name=...`.

    Attributes:
        store: The core store, for all that LangChain has no name for.
        document_id_key: See above.

    Raises:
        InvalidConfigError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        store: base.VectorStore | Any = None,
        embedding: Embeddings | EmbeddingProvider | None = None,
        *,
        search_mode: SearchMode | str | None = None,
        ranker: Ranker = DEFAULT_RANKER,
        document_id_key: str | None = None,
        **options: Any,
    ) -> None:
        self._provider = as_embedding_provider(embedding)
        self._search_mode = resolve_mode(search_mode, self._provider, "search_mode")
        self._ranker = VectorStoreQuery(ranker=ranker).ranker
        self.document_id_key = _check_key(document_id_key)
        self.store = as_vector_store(store, **options)
        self._is_asked = False  # what it can serve

    @property
    def embeddings(self) -> Embeddings | None:
        """The model that embeds texts and queries, if there is one."""
        return None if self._provider is None else as_langchain_embeddings(self._provider)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Put texts in, replacing those with the same id; returns the ids in order.

        Args:
            texts: The texts.
            metadatas: One for each text.
            ids: One for each text; None gets a new id.
            batch_size: How many are embedded at once; by default all, which the model splits as it
                needs.
            **kwargs: None are known.

        Raises:
            InvalidQueryError: lists of different lengths, or an unknown argument.
            InvalidDocumentError: a text or its metadata cannot be stored. Nothing is written then.
            PartialWriteError: the store failed in the middle; it holds what is in and what is not.
        """
        refuse_unknown(kwargs, ("batch_size",))
        return run(self._add(texts, metadatas, ids, batch_size))

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Async twin of `add_texts`."""
        refuse_unknown(kwargs, ("batch_size",))
        return await arun(self._add(texts, metadatas, ids, batch_size))

    def add_documents(
        self,
        documents: Iterable[Document],
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Put documents in, replacing those with the same id; returns the ids in order.

        Args:
            documents: The documents, which are not changed.
            ids: One for each document, instead of `Document.id`. None gets a new id.
            batch_size: See `add_texts`.
            **kwargs: None are known.

        Raises:
            InvalidDocumentError: one is no document, or cannot be stored. Nothing is written then.
            InvalidQueryError: as many ids as documents are needed, or an unknown argument.
            PartialWriteError: the store failed in the middle; it holds what is in and what is not.
        """
        refuse_unknown(kwargs, ("batch_size", "ids"))
        return run(self._add_documents(documents, ids, batch_size))

    async def aadd_documents(
        self,
        documents: Iterable[Document],
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Async twin of `add_documents`."""
        refuse_unknown(kwargs, ("batch_size", "ids"))
        return await arun(self._add_documents(documents, ids, batch_size))

    def add_embeddings(
        self,
        texts: Iterable[str],
        embeddings: Iterable[EmbeddingLike],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
    ) -> list[str]:
        """Put texts in with embeddings that are there already; see `add_texts`.

        Args:
            texts: The texts.
            embeddings: One for each text.
            metadatas: One for each text.
            ids: One for each text; None gets a new id.

        Raises:
            InvalidEmbeddingError: an embedding does not fit the store. Nothing is written then.
        """
        return run(self._add(texts, metadatas, ids, embeddings=embeddings))

    async def aadd_embeddings(
        self,
        texts: Iterable[str],
        embeddings: Iterable[EmbeddingLike],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
    ) -> list[str]:
        """Async twin of `add_embeddings`."""
        return await arun(self._add(texts, metadatas, ids, embeddings=embeddings))

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | EmbeddingProvider | None = None,
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        store: base.VectorStore | Any = None,
        **kwargs: Any,
    ) -> Self:
        """A vector store with texts in it.

        Args:
            texts: See `add_texts`.
            embedding: See the class.
            metadatas: See `add_texts`.
            ids: See `add_texts`.
            batch_size: See `add_texts`.
            store: See the class.
            **kwargs: The other arguments of the class.
        """
        return run(
            cls._filled(
                store, embedding, kwargs, lambda made: made._add(texts, metadatas, ids, batch_size)
            )
        )

    @classmethod
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | EmbeddingProvider | None = None,
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        store: base.VectorStore | Any = None,
        **kwargs: Any,
    ) -> Self:
        """Async twin of `from_texts`."""
        return await arun(
            cls._filled(
                store, embedding, kwargs, lambda made: made._add(texts, metadatas, ids, batch_size)
            )
        )

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        embedding: Embeddings | EmbeddingProvider | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        store: base.VectorStore | Any = None,
        **kwargs: Any,
    ) -> Self:
        """A vector store with documents in it.

        Args:
            documents: See `add_documents`.
            embedding: See the class.
            ids: See `add_documents`.
            batch_size: See `add_texts`.
            store: See the class.
            **kwargs: The other arguments of the class.
        """
        return run(
            cls._filled(
                store,
                embedding,
                kwargs,
                lambda made: made._add_documents(documents, ids, batch_size),
            )
        )

    @classmethod
    async def afrom_documents(
        cls,
        documents: Iterable[Document],
        embedding: Embeddings | EmbeddingProvider | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        store: base.VectorStore | Any = None,
        **kwargs: Any,
    ) -> Self:
        """Async twin of `from_documents`."""
        return await arun(
            cls._filled(
                store,
                embedding,
                kwargs,
                lambda made: made._add_documents(documents, ids, batch_size),
            )
        )

    def delete(
        self, ids: str | Sequence[str] | None = None, *, filter: Any = None, **kwargs: Any
    ) -> bool:
        """Remove rows for good; ids that are not there are no error.

        Args:
            ids: The rows with these ids.
            filter: The rows that fulfil it; with `ids`, only those that are among them.
            **kwargs: None are known.

        Returns:
            True.

        Raises:
            InvalidQueryError: nothing is given that restricts; `clear` empties a store.
        """
        return run(self._delete(ids, filter, kwargs))

    async def adelete(
        self, ids: str | Sequence[str] | None = None, *, filter: Any = None, **kwargs: Any
    ) -> bool:
        """Async twin of `delete`."""
        return await arun(self._delete(ids, filter, kwargs))

    def clear(self) -> None:
        """Remove every row; the store may be used at once."""
        self.store.clear()

    async def aclear(self) -> None:
        """Async twin of `clear`."""
        await self.store.aclear()

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in the order asked; ids that are not there are left out."""
        return self._documents(self.store.get(ids))

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Async twin of `get_by_ids`."""
        return self._documents(await self.store.aget(ids))

    def search(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """The best documents for `query`, by "similarity", "similarity_score_threshold" or "mmr".

        Raises:
            InvalidQueryError: another search type; see the methods that it stands for.
        """
        return run(self._answer([query], search_type, kwargs))[0]

    async def asearch(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """Async twin of `search`."""
        return (await arun(self._answer([query], search_type, kwargs)))[0]

    def similarity_search(self, query: str, k: int = _K, **kwargs: Any) -> list[Document]:
        """The `k` best documents for `query`, best first.

        Args:
            query: The question or the words to look for; not blank.
            k: How many at the most.
            **kwargs: See the class.

        Raises:
            InvalidQueryError: an argument is wrong; the message names it.
            UnsupportedQueryError: the store cannot search in this way.
            UnsupportedFilterError: the store cannot evaluate the filter.
        """
        return self._documents(run(self._similar([query], k, kwargs))[0])

    async def asimilarity_search(self, query: str, k: int = _K, **kwargs: Any) -> list[Document]:
        """Async twin of `similarity_search`."""
        return self._documents((await arun(self._similar([query], k, kwargs)))[0])

    def similarity_search_with_score(
        self, query: str, k: int = _K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search`, with the core's scores: higher is better, always."""
        return self._scored(run(self._similar([query], k, kwargs))[0])

    async def asimilarity_search_with_score(
        self, query: str, k: int = _K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Async twin of `similarity_search_with_score`."""
        return self._scored((await arun(self._similar([query], k, kwargs)))[0])

    def similarity_search_by_vector(
        self, embedding: EmbeddingLike, k: int = _K, **kwargs: Any
    ) -> list[Document]:
        """The `k` best documents for a vector, best first.

        Args:
            embedding: A dense vector, or any other that the core knows.
            k: How many at the most.
            **kwargs: See the class.

        Raises:
            InvalidEmbeddingError: it is no vector, or does not fit the store.
        """
        return self._documents(run(self._near(embedding, k, kwargs)))

    async def asimilarity_search_by_vector(
        self, embedding: EmbeddingLike, k: int = _K, **kwargs: Any
    ) -> list[Document]:
        """Async twin of `similarity_search_by_vector`."""
        return self._documents(await arun(self._near(embedding, k, kwargs)))

    def similarity_search_with_score_by_vector(
        self, embedding: EmbeddingLike, k: int = _K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_by_vector`, with the core's scores: higher is better, always."""
        return self._scored(run(self._near(embedding, k, kwargs)))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: EmbeddingLike, k: int = _K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Async twin of `similarity_search_with_score_by_vector`."""
        return self._scored(await arun(self._near(embedding, k, kwargs)))

    def similarity_search_with_relevance_scores(
        self, query: str, k: int = _K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search`, with scores from 0 to 1 by the store's metric.

        Args:
            query: The question.
            k: How many at the most.
            **kwargs: See the class; and `score_threshold`: only documents with at least this score.

        Raises:
            UnsupportedQueryError: the search is not by dense vectors alone, and its scores have no
                known range.
        """
        return self._scored(run(self._relevant([query], k, kwargs))[0])

    async def asimilarity_search_with_relevance_scores(
        self, query: str, k: int = _K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Async twin of `similarity_search_with_relevance_scores`."""
        return self._scored((await arun(self._relevant([query], k, kwargs)))[0])

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = _K,
        fetch_k: int = _FETCH_K,
        lambda_mult: float = _LAMBDA,
        **kwargs: Any,
    ) -> list[Document]:
        """`k` documents that are like the query and unlike one another; one search.

        Args:
            query: The question.
            k: How many at the most.
            fetch_k: How many to choose from; at least `k` are fetched.
            lambda_mult: 1.0 weighs only likeness to the query, 0.0 only difference from those chosen.
            **kwargs: See the class.

        Raises:
            UnsupportedQueryError: there are no dense vectors to compare.
        """
        found = run(self._diverse([query], k, fetch_k, lambda_mult, kwargs))
        return self._documents(found[0])

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = _K,
        fetch_k: int = _FETCH_K,
        lambda_mult: float = _LAMBDA,
        **kwargs: Any,
    ) -> list[Document]:
        """Async twin of `max_marginal_relevance_search`."""
        found = await arun(self._diverse([query], k, fetch_k, lambda_mult, kwargs))
        return self._documents(found[0])

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: EmbeddingLike,
        k: int = _K,
        fetch_k: int = _FETCH_K,
        lambda_mult: float = _LAMBDA,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector."""
        return self._documents(run(self._diverse_near(embedding, k, fetch_k, lambda_mult, kwargs)))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: EmbeddingLike,
        k: int = _K,
        fetch_k: int = _FETCH_K,
        lambda_mult: float = _LAMBDA,
        **kwargs: Any,
    ) -> list[Document]:
        """Async twin of `max_marginal_relevance_search_by_vector`."""
        work = self._diverse_near(embedding, k, fetch_k, lambda_mult, kwargs)
        return self._documents(await arun(work))

    def as_retriever(self, **kwargs: Any) -> "RagbridgeVectorStoreRetriever":
        """A retriever over this store, whose `batch` asks for many queries at once.

        Args:
            **kwargs: `search_type`: "similarity" (the default), "similarity_score_threshold" or "mmr".
                `search_kwargs`: what the search takes, such as `{"k": 3, "filter": {...}}`; with a
                threshold also `score_threshold`. `tags`, `metadata`, `name`: as of any retriever.

        Raises:
            InvalidQueryError: an argument is unknown or wrong; the message names it.
        """
        known = RagbridgeVectorStoreRetriever.model_fields.keys() - {"vectorstore"}
        refuse_unknown(kwargs, known)
        search_type = _check_search_type(kwargs.get("search_type", "similarity"))
        given = dict(kwargs.pop("search_kwargs", None) or {})
        if search_type == "similarity_score_threshold":
            given["score_threshold"] = check_score_threshold(given.get("score_threshold"))
        tags = [*(kwargs.pop("tags", None) or []), *self._get_retriever_tags()]
        return RagbridgeVectorStoreRetriever(
            vectorstore=self, search_kwargs=given, tags=tags, **kwargs
        )

    def retriever(self) -> VectorRetriever:
        """The core's retriever that searches as this store does.

        Raises:
            UnsupportedQueryError: the core store cannot search in this way.
        """
        return self._make_retriever(
            SearchArguments(search_mode=self._search_mode, ranker=self._ranker)
        )

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._search_mode not in (None, SearchMode.DENSE) or self._provider is None:
            raise _no_relevance(self._search_mode or SearchMode.FULL_TEXT)
        return self.store.metric.relevance

    def _answer(
        self, queries: list[str], search_type: str, arguments: dict[str, Any]
    ) -> Work[list[list[Document]]]:
        given = dict(arguments)
        k = given.pop("k", _K)
        if _check_search_type(search_type) == "mmr":
            fetch_k, lambda_mult = given.pop("fetch_k", _FETCH_K), given.pop("lambda_mult", _LAMBDA)
            found = yield from self._diverse(queries, k, fetch_k, lambda_mult, given)
        elif search_type == "similarity":
            found = yield from self._similar(queries, k, given)
        else:
            found = yield from self._relevant(queries, k, given)
        return [self._documents(matches) for matches in found]

    def _similar(
        self, queries: list[str], k: int, given: dict[str, Any]
    ) -> Work[list[list[VectorMatch]]]:
        return (yield from self._ask((yield from self._plan(queries, k, given))))

    def _relevant(
        self, queries: list[str], k: int, given: dict[str, Any]
    ) -> Work[list[list[VectorMatch]]]:
        """As `_similar`, with relevance instead of similarity scores."""
        arguments = dict(given)
        threshold = arguments.pop("score_threshold", None)
        least = 0.0 if threshold is None else check_score_threshold(threshold)
        requests = yield from self._plan(queries, k, arguments)
        for request in requests:
            if request.legs != (Leg.DENSE,):
                raise _no_relevance(" and ".join(request.legs))
        found = yield from self._ask(requests)
        read_metric = partial(getattr, self.store, "metric")  # for which a store may ask its engine
        metric = yield from Step(read_metric, partial(asyncio.to_thread, read_metric))
        scored = [
            [
                replace(match, similarity_score=metric.relevance(match.similarity_score))
                for match in each
            ]
            for each in found
        ]
        return [[match for match in each if match.similarity_score >= least] for each in scored]

    def _diverse(
        self, queries: list[str], k: int, fetch_k: int, lambda_mult: float, given: dict[str, Any]
    ) -> Work[list[list[VectorMatch]]]:
        requests = yield from self._plan(queries, _to_fetch(k, fetch_k), given)
        return (yield from self._choose(requests, k, lambda_mult))

    def _near(
        self, embedding: EmbeddingLike, k: int, given: dict[str, Any]
    ) -> Work[list[VectorMatch]]:
        return (yield from self._ask([self._plan_near(embedding, check_k(k), given)]))[0]

    def _diverse_near(
        self,
        embedding: EmbeddingLike,
        k: int,
        fetch_k: int,
        lambda_mult: float,
        given: dict[str, Any],
    ) -> Work[list[VectorMatch]]:
        request = self._plan_near(embedding, _to_fetch(k, fetch_k), given)
        return (yield from self._choose([request], k, lambda_mult))[0]

    def _choose(
        self, requests: list[VectorStoreQuery], k: int, lambda_mult: float
    ) -> Work[list[list[VectorMatch]]]:
        wanted = [dense_part(request.embedding) for request in requests]
        if any(vector is None for vector in wanted):
            raise UnsupportedQueryError(
                "maximal marginal relevance compares dense vectors, but the search is by "
                f"{' and '.join(requests[0].legs)}; use a model and a search_mode that have them"
            )
        found = yield from self._ask(
            [replace(request, include_embeddings=True) for request in requests]
        )
        return [
            diverse(matches, vector, top_k=check_k(k), lambda_mult=lambda_mult)
            for matches, vector in zip(found, wanted, strict=True)
            if vector is not None
        ]

    def _plan(
        self, queries: list[str], k: int, given: dict[str, Any]
    ) -> Work[list[VectorStoreQuery]]:
        top_k = check_k(k)
        arguments = SearchArguments.of_text(given, self._search_mode, self._ranker)
        make = partial(self._make_retriever, arguments)
        if self._is_asked:
            retriever = make()
        else:  # the first look at what it can serve may wait for its engine
            retriever = yield from Step(make, partial(asyncio.to_thread, make))
            self._is_asked = True
        return (yield from Step(retriever.plan, retriever.aplan, queries, top_k, arguments.filters))

    def _make_retriever(self, arguments: SearchArguments) -> VectorRetriever:
        return VectorRetriever(
            self.store,
            self._provider,
            mode=resolve_mode(arguments.search_mode, self._provider, "search_mode"),
            ranker=arguments.ranker,
            leg_top_k=arguments.leg_top_k,
            min_score=arguments.min_score,
            options=arguments.options,
        )

    def _plan_near(
        self, embedding: EmbeddingLike, top_k: int, given: dict[str, Any]
    ) -> VectorStoreQuery:
        if embedding is None:
            raise InvalidQueryError("embedding must be a vector, not None")
        return SearchArguments.of_vector(given, self._ranker).query(embedding, top_k)

    def _ask(self, requests: list[VectorStoreQuery]) -> Work[list[list[VectorMatch]]]:
        return (yield from Step(self.store.query_many, self.store.aquery_many, requests))

    def _add_documents(
        self,
        documents: Iterable[Document],
        ids: Iterable[str | None] | None,
        batch_size: int | None,
    ) -> Work[list[str]]:
        given = check_list(documents, "documents")
        for position, document in enumerate(given):
            if not isinstance(document, Document):
                raise InvalidDocumentError(
                    f"documents[{position}] must be a LangChain Document, not {shorten(document)}"
                )
        return (
            yield from self._add(
                [document.page_content for document in given],
                [document.metadata for document in given],
                [document.id for document in given] if ids is None else ids,
                batch_size,
            )
        )

    def _add(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None,
        ids: Iterable[str | None] | None,
        batch_size: int | None = None,
        embeddings: Iterable[EmbeddingLike] | None = None,
    ) -> Work[list[str]]:
        given = check_list(texts, "texts")
        all_metadata = None if metadatas is None else check_list(metadatas, "metadatas")
        all_ids = None if ids is None else check_list(ids, "ids")
        vectors = None if embeddings is None else list(embeddings)
        check_same_length(given, metadatas=all_metadata, ids=all_ids, embeddings=vectors)
        chunks = self._chunks(given, all_metadata)
        if vectors is None:
            vectors = yield from self._embed(chunks, batch_size)
        entries = [
            VectorEntry(id=given_id, embedding=vector, chunk=chunk)
            for given_id, vector, chunk in zip(
                all_ids or repeat(None), vectors, chunks, strict=False
            )
        ]
        return (yield from Step(self.store.add, self.store.aadd, entries)) if entries else []

    def _chunks(
        self, texts: Sequence[str], metadatas: Sequence[dict[str, Any]] | None
    ) -> list[Chunk]:
        chunks: list[Chunk] = []
        for text, metadata in zip(texts, metadatas or repeat({}), strict=False):
            try:
                chunks.append(make_chunk(text, metadata, self.document_id_key))
            except InvalidDocumentError as error:
                raise InvalidDocumentError(f"texts[{len(chunks)}]: {error}") from error
        return chunks

    def _embed(self, chunks: Sequence[Chunk], batch_size: int | None) -> Work[list[Any]]:
        provider = self._provider
        size = len(chunks) if batch_size is None else base.check_batch_size(batch_size)
        if provider is None or not chunks:
            return [None] * len(chunks)
        embeddings: list[Embedding] = []
        for start in range(0, len(chunks), size):
            part = chunks[start : start + size]
            made = yield from Step(provider.batch_embed, provider.abatch_embed, part)
            embeddings += check_embeddings(made, len(part), provider)
        return embeddings

    def _delete(
        self, ids: str | Sequence[str] | None, filter: Any, unknown: dict[str, Any]
    ) -> Work[bool]:
        refuse_unknown(unknown, ("filter", "ids"))
        filters: Filter | None = as_filter(filter)
        if ids is None and filters is None:
            raise InvalidQueryError("delete needs ids or a filter; clear() empties the store")
        store = self.store
        if filters is None:
            yield from Step(store.delete, store.adelete, ids or [])
        else:
            some = [ids] if isinstance(ids, str) else ids
            yield from Step(store.delete_by_filter, store.adelete_by_filter, filters, ids=some)
        return True

    @classmethod
    def _filled(
        cls,
        store: Any,
        embedding: Embeddings | EmbeddingProvider | None,
        options: dict[str, Any],
        fill: "Callable[[Self], Work[list[str]]]",
    ) -> Work[Self]:
        made = cls(store, embedding, **options)
        try:
            yield from fill(made)
        except Exception:
            if made.store is not store:  # nobody else could close it
                yield from Step(made.store.close, made.store.aclose)
            raise
        return made

    def _documents(self, entries: Iterable[VectorEntry]) -> list[Document]:
        key = self.document_id_key
        return [to_langchain_document(entry, document_id_key=key) for entry in entries]

    def _scored(self, matches: Sequence[VectorMatch]) -> list[tuple[Document, float]]:
        scores = [match.similarity_score for match in matches]
        return list(zip(self._documents(matches), scores, strict=True))


class RagbridgeVectorStoreRetriever(BatchedRetriever, VectorStoreRetriever):
    """What `RagbridgeVectorStore.as_retriever` gives: LangChain's retriever, with real batches."""

    def _answers(self, queries: list[str], arguments: dict[str, Any]) -> Work[list[list[Document]]]:
        store = self.vectorstore
        if not isinstance(store, RagbridgeVectorStore):
            raise InvalidConfigError(
                f"vectorstore must be a RagbridgeVectorStore, not {shorten(store)}"
            )
        return store._answer(queries, self.search_type, {**self.search_kwargs, **arguments})


def _check_search_type(search_type: object) -> str:
    if search_type not in _SEARCH_TYPES:
        raise InvalidQueryError(
            f"search_type must be one of {', '.join(_SEARCH_TYPES)}, not {shorten(search_type)}"
        )
    return str(search_type)


def _check_key(key: object) -> str | None:
    if key is not None and not isinstance(key, str):
        raise InvalidConfigError(f"document_id_key must be a string or None, not {shorten(key)}")
    return key


def _to_fetch(k: int, fetch_k: int) -> int:
    return max(check_k(k), check_k(fetch_k, "fetch_k"))


def _no_relevance(kind: str) -> UnsupportedQueryError:
    return UnsupportedQueryError(
        f"relevance scores are for searches by dense vectors, not by {kind}, whose scores have no "
        "known range; use similarity_search_with_score, or search_mode='dense'"
    )
