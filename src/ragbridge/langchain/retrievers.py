"""Retrievers: the core's as LangChain's."""

from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import LangSmithRetrieverParams

from ragbridge._twins import Step, Work
from ragbridge.embeddings import EmbeddingProvider
from ragbridge.errors import InvalidConfigError, shorten
from ragbridge.filters import Filter
from ragbridge.langchain._batching import BatchedRetriever
from ragbridge.langchain._searching import check_k, refuse_unknown
from ragbridge.langchain.documents import to_langchain_document
from ragbridge.langchain.embeddings import as_embedding_provider, as_langchain_embeddings
from ragbridge.langchain.filters import as_filter
from ragbridge.langchain.vector_store import RagbridgeVectorStore
from ragbridge.retrievers import Retriever, VectorRetriever
from ragbridge.stores.base import VectorStore

__all__ = ["RagbridgeRetriever"]

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
        return [
            [
                to_langchain_document(
                    match, document_id_key=self.document_id_key, score_key=score_key
                )
                for match in matches
            ]
            for matches in found
        ]

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        if isinstance(self.retriever, VectorRetriever):
            params["ls_vector_store_provider"] = type(self.retriever.vector_store).__name__
            if (provider := self.retriever.embedding_provider) is not None:
                embeddings = as_langchain_embeddings(provider)
                params["ls_embedding_provider"] = type(embeddings).__name__
        return params


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
