"""A core store as a LangChain vector store."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from ragbridge._adapting import as_vector_store
from ragbridge._twins import Step, Work, arun, run
from ragbridge.embeddings import EmbeddingLike, EmbeddingProvider
from ragbridge.errors import InvalidConfigError, InvalidQueryError, shorten
from ragbridge.langchain._adding import Additions
from ragbridge.langchain._arguments import check_score_threshold, refuse_unknown
from ragbridge.langchain._batching import BatchedRetriever
from ragbridge.langchain._searching import (
    DEFAULT_FETCH_K,
    DEFAULT_K,
    DEFAULT_LAMBDA,
    Searches,
    check_search_type,
    no_relevance,
)
from ragbridge.langchain.documents import to_langchain_documents
from ragbridge.langchain.embeddings import as_embedding_provider, as_langchain_embeddings
from ragbridge.langchain.filters import as_filter
from ragbridge.retrievers import SearchMode, VectorRetriever, resolve_mode
from ragbridge.stores import base
from ragbridge.stores.base import DEFAULT_RANKER, Ranker, VectorEntry, VectorMatch, VectorStoreQuery

__all__ = ["RagbridgeVectorStore", "RagbridgeVectorStoreRetriever"]


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
        provider = as_embedding_provider(embedding)
        mode = resolve_mode(search_mode, provider, "search_mode")
        checked = VectorStoreQuery(ranker=ranker)
        self.document_id_key = _check_key(document_id_key)
        self.store = as_vector_store(store, **options)
        self._provider = provider
        self._additions = Additions(self.store, provider, document_id_key)
        self._searches = Searches(self.store, provider, mode, checked.ranker)

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
        return run(self._additions.texts(texts, metadatas, ids, batch_size))

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
        return await arun(self._additions.texts(texts, metadatas, ids, batch_size))

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
        return run(self._additions.documents(documents, ids, batch_size))

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
        return await arun(self._additions.documents(documents, ids, batch_size))

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
        return run(self._additions.texts(texts, metadatas, ids, embeddings=embeddings))

    async def aadd_embeddings(
        self,
        texts: Iterable[str],
        embeddings: Iterable[EmbeddingLike],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
    ) -> list[str]:
        """Async twin of `add_embeddings`."""
        return await arun(self._additions.texts(texts, metadatas, ids, embeddings=embeddings))

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
                store,
                embedding,
                kwargs,
                lambda made: made._additions.texts(texts, metadatas, ids, batch_size),
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
                store,
                embedding,
                kwargs,
                lambda made: made._additions.texts(texts, metadatas, ids, batch_size),
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
                lambda made: made._additions.documents(documents, ids, batch_size),
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
                lambda made: made._additions.documents(documents, ids, batch_size),
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
        return self._documents(run(self._searches.of_type([query], search_type, kwargs))[0])

    async def asearch(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """Async twin of `search`."""
        return self._documents(
            (await arun(self._searches.of_type([query], search_type, kwargs)))[0]
        )

    def similarity_search(self, query: str, k: int = DEFAULT_K, **kwargs: Any) -> list[Document]:
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
        return self._documents(run(self._searches.similar([query], k, kwargs))[0])

    async def asimilarity_search(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[Document]:
        """Async twin of `similarity_search`."""
        return self._documents((await arun(self._searches.similar([query], k, kwargs)))[0])

    def similarity_search_with_score(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search`, with the core's scores: higher is better, always."""
        return self._scored(run(self._searches.similar([query], k, kwargs))[0])

    async def asimilarity_search_with_score(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Async twin of `similarity_search_with_score`."""
        return self._scored((await arun(self._searches.similar([query], k, kwargs)))[0])

    def similarity_search_by_vector(
        self, embedding: EmbeddingLike, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[Document]:
        """The `k` best documents for a vector, best first.

        Args:
            embedding: A dense vector, or any other that the core knows.
            k: How many at the most.
            **kwargs: See the class.

        Raises:
            InvalidEmbeddingError: it is no vector, or does not fit the store.
        """
        return self._documents(run(self._searches.near(embedding, k, kwargs)))

    async def asimilarity_search_by_vector(
        self, embedding: EmbeddingLike, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[Document]:
        """Async twin of `similarity_search_by_vector`."""
        return self._documents(await arun(self._searches.near(embedding, k, kwargs)))

    def similarity_search_with_score_by_vector(
        self, embedding: EmbeddingLike, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_by_vector`, with the core's scores: higher is better, always."""
        return self._scored(run(self._searches.near(embedding, k, kwargs)))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: EmbeddingLike, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Async twin of `similarity_search_with_score_by_vector`."""
        return self._scored(await arun(self._searches.near(embedding, k, kwargs)))

    def similarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
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
        return self._scored(run(self._searches.relevant([query], k, kwargs))[0])

    async def asimilarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Async twin of `similarity_search_with_relevance_scores`."""
        return self._scored((await arun(self._searches.relevant([query], k, kwargs)))[0])

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = DEFAULT_LAMBDA,
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
        found = run(self._searches.diverse([query], k, fetch_k, lambda_mult, kwargs))
        return self._documents(found[0])

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = DEFAULT_LAMBDA,
        **kwargs: Any,
    ) -> list[Document]:
        """Async twin of `max_marginal_relevance_search`."""
        found = await arun(self._searches.diverse([query], k, fetch_k, lambda_mult, kwargs))
        return self._documents(found[0])

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: EmbeddingLike,
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = DEFAULT_LAMBDA,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector."""
        return self._documents(
            run(self._searches.diverse_near(embedding, k, fetch_k, lambda_mult, kwargs))
        )

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: EmbeddingLike,
        k: int = DEFAULT_K,
        fetch_k: int = DEFAULT_FETCH_K,
        lambda_mult: float = DEFAULT_LAMBDA,
        **kwargs: Any,
    ) -> list[Document]:
        """Async twin of `max_marginal_relevance_search_by_vector`."""
        work = self._searches.diverse_near(embedding, k, fetch_k, lambda_mult, kwargs)
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
        search_type = check_search_type(kwargs.get("search_type", "similarity"))
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
        return self._searches.retriever()

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        mode = self._searches.mode
        if mode not in (None, SearchMode.DENSE):
            raise no_relevance(mode)
        return self.store.metric.relevance

    def _answers(
        self, queries: list[str], search_type: str, given: dict[str, Any]
    ) -> Work[list[list[Document]]]:
        found = yield from self._searches.of_type(queries, search_type, given)
        return [self._documents(matches) for matches in found]

    def _delete(
        self, ids: str | Sequence[str] | None, filter: Any, unknown: dict[str, Any]
    ) -> Work[bool]:
        refuse_unknown(unknown, ("filter", "ids"))
        filters = as_filter(filter)
        if ids is None and filters is None:
            raise InvalidQueryError("delete needs ids or a filter; clear() empties the store")
        store = self.store
        if filters is not None:
            some = [ids] if isinstance(ids, str) else ids
            yield from Step(store.delete_by_filter, store.adelete_by_filter, filters, ids=some)
        elif ids is not None:
            yield from Step(store.delete, store.adelete, ids)
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
        return to_langchain_documents(entries, document_id_key=self.document_id_key)

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
        return store._answers(queries, self.search_type, {**self.search_kwargs, **arguments})


def _check_key(key: object) -> str | None:
    if key is not None and not isinstance(key, str):
        raise InvalidConfigError(f"document_id_key must be a string or None, not {shorten(key)}")
    return key
