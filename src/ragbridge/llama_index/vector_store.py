"""A core vector store as LlamaIndex's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Final

from fsspec import AbstractFileSystem
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.bridge.pydantic import BaseModel, Field, field_serializer
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    DEFAULT_PERSIST_DIR,
    DEFAULT_PERSIST_FNAME,
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from ragbridge._adapting import as_vector_store
from ragbridge._twins import Step, Work, arun, run
from ragbridge.documents import JsonValue
from ragbridge.embeddings import (
    EmbeddingProvider,
    HybridVector,
    SparseVector,
    as_embedding,
    check_embeddings,
    dense_part,
    sparse_part,
)
from ragbridge.errors import (
    InvalidConfigError,
    InvalidEmbeddingError,
    InvalidQueryError,
    shorten,
)
from ragbridge.filters import Filter
from ragbridge.filters import MetadataFilters as Group
from ragbridge.llama_index._queries import Request, Settings, result_of, usual_query
from ragbridge.llama_index.documents import from_llama_index_nodes, to_llama_index_node
from ragbridge.llama_index.embeddings import LlamaIndexEmbeddingProvider
from ragbridge.llama_index.filters import from_llama_index_filters
from ragbridge.retrievers import check_kind
from ragbridge.stores import restore_vector_store
from ragbridge.stores.base import VectorEntry, VectorStore, check_id, check_ids
from ragbridge.stores.base import VectorStoreQuery as CoreQuery
from ragbridge.stores.memory import InMemoryVectorStore

__all__ = ["RagbridgeVectorStore"]

_SETTINGS: Final = ("mmr_threshold", "mmr_prefetch_factor", "mmr_prefetch_k", "ranker", "min_score")
_SPARSE: Final = "sparse_embedding_provider"


class RagbridgeVectorStore(BasePydanticVectorStore):
    """A core vector store behind a LlamaIndex index: every query mode, every filter, sync and async.

    | mode | searches by |
    |---|---|
    | `DEFAULT` | the query's embedding; without one, it lists what the filters select (scores 0.0) |
    | `TEXT_SEARCH` | the words of `query_str` |
    | `SPARSE` | the sparse vector of `query_str`, or its words if the store has no sparse embeddings |
    | `HYBRID`, `SEMANTIC_HYBRID` | `DEFAULT` and `SPARSE` at once |
    | `MMR` | the embedding, for rows that are unlike one another; in their order, with their similarity |
    | `SVM`, `LOGISTIC_REGRESSION`, `LINEAR_REGRESSION` | a learner, see `ragbridge.llama_index.learners` |

    `alpha` of a hybrid query weighs the embedding by alpha and the text by 1 - alpha; without it
    ranks are fused (RRF). `sparse_top_k` limits the text's candidates, and what a SPARSE query
    returns; with `hybrid_top_k` that many rows are returned, and `similarity_top_k` limits the
    embedding's candidates. `node_ids` and `doc_ids` that are None or empty restrict nothing, and
    `output_fields` leaves only these keys of the metadata.

    Keywords of `query` beyond the query's own fields: `mmr_threshold`; `mmr_prefetch_factor` (4.0 by
    default) or `mmr_prefetch_k`, for how many rows MMR chooses from; `ranker`, for hybrid queries
    without alpha; `min_score`; all others are options of the core store, which refuses those that it
    does not know.

    Args:
        vector_store: A core store; an address or a configuration, for a store that is made with
            `options`; or None for a new store in memory.
        sparse_embedding_provider: Makes sparse vectors of the nodes that are added and of queries: a
            core provider or LlamaIndex's `BaseSparseEmbedding`.
        learner_candidates: How many rows a learner is fitted to, at the most.
        options: Arguments for making the store.

    Raises:
        InvalidConfigError: an argument is wrong; the message names it.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    vector_store: VectorStore
    sparse_embedding_provider: EmbeddingProvider | None = None
    learner_candidates: int = Field(default=10_000)

    def __init__(
        self,
        vector_store: VectorStore | str | PathLike[str] | object | None = None,
        *,
        sparse_embedding_provider: EmbeddingProvider | BaseSparseEmbedding | None = None,
        learner_candidates: int = 10_000,
        **options: Any,
    ) -> None:
        super().__init__(
            stores_text=True,
            vector_store=as_vector_store(vector_store, **options),
            sparse_embedding_provider=_as_provider(sparse_embedding_provider),
            learner_candidates=_check_count(learner_candidates),
        )

    @classmethod
    def class_name(cls) -> str:
        """The name of this class, as LlamaIndex writes it down."""
        return "RagbridgeVectorStore"

    @property
    def client(self) -> Any:
        """The engine's own client; None where there is no engine."""
        return getattr(self.vector_store, "client", None)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Put nodes in, replacing those with the same id; returns the ids in order.

        Raises:
            InvalidDocumentError: a node cannot be stored, or is larger than the engine takes. Nothing
                is written then.
            InvalidEmbeddingError: an embedding does not fit the store. Nothing is written then.
            InvalidQueryError: there are keywords.
        """
        return run(self._add(nodes, kwargs))

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Async twin of `add`."""
        return await arun(self._add(nodes, kwargs))

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove all nodes of a document.

        Raises:
            InvalidQueryError: no id, or there are keywords.
        """
        run(self._delete(ref_doc_id, delete_kwargs))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Async twin of `delete`."""
        await arun(self._delete(ref_doc_id, delete_kwargs))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Remove the nodes with these ids that the filters select.

        Where neither is given, or `node_ids` is empty, nothing is removed; see `clear`.

        Raises:
            InvalidQueryError: `node_ids` is no list of ids, or there are keywords.
            InvalidFilterError: the filters have no meaning.
        """
        run(self._delete_nodes(node_ids, filters, delete_kwargs))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Async twin of `delete_nodes`."""
        await arun(self._delete_nodes(node_ids, filters, delete_kwargs))

    def get_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[BaseNode]:
        """The nodes with these ids that the filters select, with their embeddings.

        They come in the order of `node_ids`, unknown ones left out; without `node_ids`, in the order
        of their ids. Where neither is given, all of them.

        Raises:
            InvalidQueryError: `node_ids` is no list of ids.
            InvalidFilterError: the filters have no meaning.
        """
        return run(self._get_nodes(node_ids, filters))

    async def aget_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[BaseNode]:
        """Async twin of `get_nodes`."""
        return await arun(self._get_nodes(node_ids, filters))

    def clear(self) -> None:
        """Remove every node; the store is usable at once."""
        self.vector_store.clear()

    async def aclear(self) -> None:
        """Async twin of `clear`."""
        await self.vector_store.aclear()

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The best nodes, best first, with their ids and scores; see the class for modes and keywords.

        Raises:
            InvalidQueryError: a field or keyword is wrong; the message names it.
            InvalidFilterError: the filters have no meaning.
            InvalidEmbeddingError: the embedding does not fit the store.
            UnsupportedQueryError: the store cannot serve the mode or an option, or has more rows than
                a learner is fitted to.
        """
        return run(self._query(query, kwargs))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Async twin of `query`."""
        return await arun(self._query(query, kwargs))

    def persist(self, persist_path: str, fs: AbstractFileSystem | None = None) -> None:
        """Save a store in memory to a file; stores that keep their rows themselves need no saving.

        Args:
            persist_path: The file; its directory is made if need be.
            fs: Where it lies, if not on this machine.

        Raises:
            VectorStoreError: the file cannot be written.
        """
        if not isinstance(self.vector_store, InMemoryVectorStore):
            return
        if fs is None:
            Path(persist_path).parent.mkdir(parents=True, exist_ok=True)
            self.vector_store.save(persist_path)
            return
        with TemporaryDirectory() as directory:
            saved = Path(directory, "rows")
            self.vector_store.save(saved)
            fs.makedirs(str(PurePosixPath(persist_path).parent), exist_ok=True)
            fs.put_file(str(saved), persist_path)

    @classmethod
    def from_persist_path(
        cls, persist_path: str, fs: AbstractFileSystem | None = None, **settings: Any
    ) -> "RagbridgeVectorStore":
        """The store in memory that `persist` saved.

        Args:
            persist_path: The file.
            fs: Where it lies, if not on this machine.
            settings: `sparse_embedding_provider` and `learner_candidates`.

        Raises:
            VectorStoreError: there is no such file, or it is damaged, or no file of ours.
        """
        if fs is None:
            return cls(InMemoryVectorStore.load(persist_path), **settings)
        with TemporaryDirectory() as directory:
            copy = Path(directory, "rows")
            fs.get_file(persist_path, str(copy))
            return cls(InMemoryVectorStore.load(copy), **settings)

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str = DEFAULT_PERSIST_DIR,
        namespace: str = "default",
        fs: AbstractFileSystem | None = None,
        **settings: Any,
    ) -> "RagbridgeVectorStore":
        """The store that `StorageContext.persist` saved; see `from_persist_path`."""
        path = f"{str(persist_dir).rstrip('/')}/{namespace}__{DEFAULT_PERSIST_FNAME}"
        return cls.from_persist_path(path, fs, **settings)

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The store as JSON, for `from_dict`: with the rows of a store in memory, and without secrets.

        Raises:
            InvalidConfigError: the core store cannot be described.
        """
        described = self.vector_store.to_dict()  # here, so that pydantic does not wrap its error
        return super().to_dict(**{**kwargs, "exclude": {"vector_store"}}) | {
            "vector_store": described
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> "RagbridgeVectorStore":
        """The store that `to_dict` described.

        Args:
            data: What `to_dict` gave. Of a store in memory it has the rows, of others the address.
            kwargs: `sparse_embedding_provider`, which must be given if the store had one;
                `learner_candidates`; and `token`, if it is not in the environment.

        Raises:
            InvalidConfigError: the description is no such thing, or the provider or the token of the
                store is missing.
        """
        given = {**data, **kwargs}
        described = given.get("vector_store")
        if not isinstance(described, Mapping):
            raise InvalidConfigError(
                f"data must be what to_dict gave, with a vector_store, not {shorten(data)}"
            )
        if data.get(_SPARSE) is not None and _SPARSE not in kwargs:
            raise InvalidConfigError(
                f"the store had a {data[_SPARSE]}, which is not in the description; give "
                f"{_SPARSE}=..."
            )
        secret = {"token": kwargs["token"]} if "token" in kwargs else {}
        settings = (
            {"learner_candidates": given["learner_candidates"]}
            if "learner_candidates" in given
            else {}
        )
        return cls(
            restore_vector_store({**described, **secret}),
            sparse_embedding_provider=kwargs.get(_SPARSE),
            **settings,
        )

    @field_serializer("vector_store")
    def _describe_store(self, store: VectorStore) -> dict[str, JsonValue]:
        return store.to_dict()

    @field_serializer(_SPARSE)
    def _describe_provider(self, provider: EmbeddingProvider | None) -> str | None:
        return None if provider is None else type(provider).__name__

    # LlamaIndex's own leave out what cannot be pickled, and fall back to defaults.

    def __getstate__(self) -> dict[Any, Any]:
        return BaseModel.__getstate__(self)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, state)

    def _add(self, nodes: Sequence[BaseNode], kwargs: Mapping[str, Any]) -> Work[list[str]]:
        _refuse(kwargs, "add")
        entries = from_llama_index_nodes(nodes)
        if self.sparse_embedding_provider is not None and entries:
            entries = yield from _with_sparse(entries, self.sparse_embedding_provider)
        return (yield from Step(self.vector_store.add, self.vector_store.aadd, entries))

    def _delete(self, ref_doc_id: str, kwargs: Mapping[str, Any]) -> Work[None]:
        _refuse(kwargs, "delete")
        document_ids = [check_id(ref_doc_id, "ref_doc_id")]
        store = self.vector_store
        yield from Step(store.delete_by_filter, store.adelete_by_filter, document_ids=document_ids)

    def _delete_nodes(
        self, node_ids: object, filters: object, kwargs: Mapping[str, Any]
    ) -> Work[None]:
        _refuse(kwargs, "delete_nodes")
        ids, selecting = check_ids(node_ids, "node_ids"), _check_filters(filters)
        store = self.vector_store
        if selecting is not None and ids != ():
            yield from Step(store.delete_by_filter, store.adelete_by_filter, selecting, ids=ids)
        elif ids:
            yield from Step(store.delete, store.adelete, ids)

    def _get_nodes(self, node_ids: object, filters: object) -> Work[list[BaseNode]]:
        ids, selecting = check_ids(node_ids, "node_ids"), _check_filters(filters)
        store = self.vector_store
        found: Sequence[VectorEntry]
        if ids is not None and selecting is None:
            found = yield from Step(store.get, store.aget, ids)
        else:
            listing = CoreQuery(filters=selecting, ids=ids, top_k=-1, include_embeddings=True)
            found = yield from Step(store.query, store.aquery, listing)
        if ids is not None:
            place = {node_id: position for position, node_id in enumerate(ids)}
            found = sorted(found, key=lambda entry: place[str(entry.id)])
        return [to_llama_index_node(entry) for entry in found]

    def _query(
        self, query: VectorStoreQuery, kwargs: Mapping[str, Any]
    ) -> Work[VectorStoreQueryResult]:
        store = self.vector_store
        usual = None if kwargs else usual_query(query)
        if usual is not None:
            found = yield from Step(store.query, store.aquery, usual)
            scores = [match.similarity_score for match in found]
            return result_of([to_llama_index_node(match) for match in found], scores)
        settings = {name: kwargs[name] for name in _SETTINGS if name in kwargs}
        options = {name: value for name, value in kwargs.items() if name not in settings}
        request = Request.of(
            query, Settings(**settings, options=options, learner_candidates=self.learner_candidates)
        )
        sparse = None
        if self.sparse_embedding_provider is not None and request.sparse_text is not None:
            sparse = yield from _embed_query(request.sparse_text, self.sparse_embedding_provider)
        found = yield from Step(store.query, store.aquery, request.to_core(sparse))
        return request.to_result(request.rank(found))


def _as_provider(
    provider: EmbeddingProvider | BaseSparseEmbedding | None,
) -> EmbeddingProvider | None:
    if provider is None:
        return None
    if isinstance(provider, BaseSparseEmbedding):
        return LlamaIndexEmbeddingProvider(sparse_embed_model=provider)
    check_kind(provider, EmbeddingProvider, _SPARSE)
    return provider


def _check_count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidConfigError(
            f"learner_candidates must be a positive integer, not {shorten(value)}"
        )
    return value


def _check_filters(filters: Any) -> Filter | None:
    """The filters, or None where they are none or have nothing in them."""
    selecting = from_llama_index_filters(filters)
    return None if isinstance(selecting, Group) and not selecting.filters else selecting


def _refuse(kwargs: Mapping[str, Any], method: str) -> None:
    if kwargs:
        raise InvalidQueryError(
            f"{method} takes no keyword {', '.join(map(repr, kwargs))}; settings of the engine go where "
            "the store is made"
        )


def _with_sparse(
    entries: Sequence[VectorEntry], provider: EmbeddingProvider
) -> Work[list[VectorEntry]]:
    """Entries with a sparse vector beside the one that they have."""
    chunks = [entry.chunk for entry in entries]
    made = yield from Step(provider.batch_embed, provider.abatch_embed, chunks)
    vectors = [_sparse(each, provider) for each in check_embeddings(made, len(chunks), provider)]
    return [
        replace(entry, embedding=_joined(entry, vector))
        for entry, vector in zip(entries, vectors, strict=True)
    ]


def _joined(entry: VectorEntry, sparse: SparseVector) -> SparseVector | HybridVector:
    dense = dense_part(entry.embedding)
    return sparse if dense is None else HybridVector(dense, sparse)


def _embed_query(text: str, provider: EmbeddingProvider) -> Work[SparseVector]:
    made = yield from Step(provider.embed_query, provider.aembed_query, text)
    return _sparse(made, provider)


def _sparse(made: object, provider: EmbeddingProvider) -> SparseVector:
    vector = sparse_part(as_embedding(made))
    if vector is None:
        raise InvalidEmbeddingError(
            f"{_SPARSE} must make sparse vectors, but {type(provider).__name__} made "
            f"a {type(made).__name__}"
        )
    return vector
