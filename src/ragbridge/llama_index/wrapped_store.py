"""LlamaIndex's vector stores as core stores."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import inf
from threading import Lock
from typing import Any, Final, TypeVar

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.simple_docstore import SimpleDocumentStore
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore, FilterCondition
from llama_index.core.vector_stores.types import MetadataFilters as LlamaIndexFilters
from llama_index.core.vector_stores.types import VectorStoreQuery as LlamaIndexQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode as Mode

from ragbridge._twins import Step, Work
from ragbridge._wrapped_store import WrappedStore
from ragbridge.embeddings import dense_part
from ragbridge.errors import (
    InvalidConfigError,
    InvalidEmbeddingError,
    RagbridgeError,
    UnsupportedFilterError,
    UnsupportedQueryError,
    VectorStoreError,
)
from ragbridge.filters import Condition, Filter, MetadataFilters
from ragbridge.llama_index._carried import CARRIED_KEY, from_node, to_node
from ragbridge.llama_index._kept_nodes import KeptNodes
from ragbridge.llama_index.filters import to_llama_index_filters
from ragbridge.llama_index.vector_store import RagbridgeVectorStore
from ragbridge.retrievers import check_kind
from ragbridge.stores._requests import (
    Selection,
    VectorShape,
    check_delete_ids,
    check_get_ids,
    check_metric,
    check_queries,
    check_query,
    not_found,
    prepare_batch,
)
from ragbridge.stores.base import (
    Capability,
    SimilarityMetric,
    VectorEntry,
    VectorMatch,
    VectorStoreQuery,
)

__all__ = ["LlamaIndexVectorStore"]

T = TypeVar("T")

_FIRST_LOOK: Final = 1000
_GROWTH: Final = 4
_FULL_TEXT: Final = Capability.FULL_TEXT


class LlamaIndexVectorStore(WrappedStore):
    """A LlamaIndex vector store as a core store.

    Serves dense queries, and full-text ones where the wrapped store does. Filters mean what
    `ragbridge.matches` says: those that the wrapped store is known to understand likewise go to it, all
    others are evaluated here, over as many candidates as it takes.

    LlamaIndex's interface has its limits. Reading, counting and deleting by filter read all nodes that
    may be selected, since it has no paging; where the wrapped store cannot give its nodes back, or
    their vectors where those are asked for, an UnsupportedQueryError says so. Soft-deleted rows are
    hidden here, but not from others who read the wrapped store. Nodes carry one dense vector each, so
    rows with others are refused; what else a node cannot say of a row is kept in its metadata, under
    `_ragbridge`. Adding replaces rows where the wrapped store's `add` does; a store that gives its
    nodes other ids is refused. What it raises comes as a VectorStoreError, with the cause chained.

    A store that keeps no text (`stores_text` is false, as with `SimpleVectorStore`) is used with a
    document store, which keeps its nodes: the docstore of an existing index, or a new one. Calls of
    several threads then take turns.

    Args:
        vector_store: The LlamaIndex store; closing leaves it open.
        docstore: Keeps the nodes of a store that keeps no text; by default a new one in memory. Unless
            the store is a `SimpleVectorStore`, it must hold the nodes of this store and no others.
        metric: How the wrapped store compares vectors. Known of ours and of `SimpleVectorStore`; by
            default cosine.
        native_filters: Whether filters mean there what they mean here, apart from those that LlamaIndex
            has no words for. Known of ours; by default not.
        full_text: Whether it serves `TEXT_SEARCH`. Known of ours; by default not.
        to_score: Makes a similarity of the wrapped store a score of the core, higher for better; by
            default they are the same.

    Raises:
        InvalidConfigError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        vector_store: BasePydanticVectorStore,
        *,
        docstore: BaseDocumentStore | None = None,
        metric: SimilarityMetric | str | None = None,
        native_filters: bool | None = None,
        full_text: bool | None = None,
        to_score: Callable[[float], float] = float,
    ) -> None:
        check_kind(vector_store, BasePydanticVectorStore, "vector_store")
        self.llama_index_store = vector_store
        self._kept = _kept_nodes(vector_store, docstore)
        self.metric = _metric_of(vector_store, metric)
        ours = vector_store if isinstance(vector_store, RagbridgeVectorStore) else None
        if full_text is None:
            full_text = ours is not None and _FULL_TEXT in ours.vector_store.capabilities
        self.capabilities = frozenset({Capability.DENSE} | ({_FULL_TEXT} if full_text else set()))
        self.native_filters = ours is not None if native_filters is None else native_filters
        self.to_score = to_score
        self._shape: VectorShape | None = None
        self._turns: AbstractContextManager[Any] = nullcontext() if self._kept is None else Lock()

    def _do(self, work: Work[T]) -> T:
        with self._turns:
            return super()._do(work)

    async def _ado(self, work: Work[T]) -> T:
        if self._kept is None and _is_async(self.llama_index_store):
            return await super()._ado(work)
        return await asyncio.to_thread(self._do, work)

    @property
    def _name(self) -> str:
        return type(self.llama_index_store).__name__

    def _add(self, entries: Sequence[VectorEntry]) -> Work[list[str]]:
        batch = prepare_batch(entries, self._shape, self.metric)
        if batch is None:
            return []
        if batch.shape.sparse or batch.shape.dimension is None:
            raise InvalidEmbeddingError(
                f"entries[0] has {batch.shape}, but LlamaIndex's nodes carry one dense vector each"
            )
        nodes = [to_node(replace(entry, id=row_id)) for row_id, entry in batch.rows.items()]
        if self._kept is not None:  # first, so that a row with a vector never lacks its text
            self._kept.put(nodes)
        written = yield from self._call("add", "async_add", nodes)
        if set(written) != batch.rows.keys():
            raise VectorStoreError(
                f"{self._name} gives nodes ids of its own, so that nobody finds them again; wrap a "
                "store that keeps the nodes' ids"
            )
        self._shape = batch.shape
        return batch.ids

    def _query_many(self, queries: Sequence[VectorStoreQuery]) -> Work[list[list[VectorMatch]]]:
        checked = check_queries(queries)
        for query in checked:
            check_query(
                query,
                store=f"LlamaIndexVectorStore over {self._name}",
                capabilities=self.capabilities,
                metric=self.metric,
                shape=self._shape,
            )
        answers: list[list[VectorMatch]] = []
        for query in checked:
            answers += [(yield from self._query(query))]
        return answers

    def _query(self, query: VectorStoreQuery) -> Work[list[VectorMatch]]:
        selection = Selection.of_query(query)
        if selection.is_empty or (query.text is not None and not query.text.strip()):
            return []
        if query.legs:
            found = yield from self._search(query, selection)
        else:
            rows = yield from self._select(selection, query.include_embeddings)
            found = [_match(row, 0.0) for row in rows]
        found.sort(key=lambda match: (-match.similarity_score, str(match.id)))
        if query.min_score is not None:
            found = [match for match in found if match.similarity_score >= query.min_score]
        found = found if query.top_k == -1 else found[: query.top_k]
        if not query.legs:
            return found
        if not query.include_embeddings:
            return [replace(match, embedding=None) for match in found]
        return (yield from self._with_embeddings(found))

    def _search(self, query: VectorStoreQuery, selection: Selection) -> Work[list[VectorMatch]]:
        """The best selected rows: those that the wrapped store finds, more and more, and checks."""
        asked = yield from self._asked(query, selection)
        if asked.node_ids == []:  # no restriction at all to some stores
            return []
        wanted, limit = (inf, _FIRST_LOOK) if query.top_k == -1 else (query.top_k, query.top_k)
        while True:
            asked.similarity_top_k = limit
            found = yield from self._found(asked)
            selected = [match for match in found if selection.matches(match)]
            if len(selected) >= wanted or len(found) < limit:
                return selected
            limit *= _GROWTH

    def _asked(self, query: VectorStoreQuery, selection: Selection) -> Work[LlamaIndexQuery]:
        """The query, with what of the selection the wrapped store can be trusted with."""
        ids = None if selection.ids is None else list(selection.ids)
        vector = dense_part(query.embedding)
        asked = LlamaIndexQuery(
            query_embedding=None if vector is None else vector.tolist(),
            query_str=query.text,
            mode=Mode.DEFAULT if query.text is None else Mode.TEXT_SEARCH,
            node_ids=ids,
        )
        if self.native_filters:
            asked.filters = _sayable(selection.filters)
            asked.doc_ids = list(selection.document_ids or ()) or None
        elif self._kept is not None and _restricts(selection):
            rows = yield from self._select(selection)
            asked.node_ids = [str(row.id) for row in rows]
        return asked

    def _found(self, asked: LlamaIndexQuery) -> Work[list[VectorMatch]]:
        result = yield from self._call("query", "aquery", asked)
        similarities, nodes = result.similarities or [], result.nodes or []
        if self._kept is not None:
            nodes = self._kept.read(result.ids or [], embeddings=False)
        if len(similarities) != len(nodes):
            raise VectorStoreError(f"{self._name} found rows without similarities")
        return [
            _match(from_node(node), self.to_score(similarity))
            for node, similarity in zip(nodes, similarities, strict=True)
        ]

    def _with_embeddings(self, found: list[VectorMatch]) -> Work[list[VectorMatch]]:
        if all(match.embedding is not None for match in found):
            return found
        ids = tuple(str(match.id) for match in found)
        rows = yield from self._select(Selection(ids=ids, include_deleted=True), True)
        vectors = {row.id: row.embedding for row in rows}
        return [replace(match, embedding=vectors[match.id]) for match in found]

    def _get(self, ids: Sequence[str], include_deleted: bool) -> Work[list[VectorEntry]]:
        given = check_get_ids(ids)
        rows = yield from self._select(Selection(ids=given, include_deleted=include_deleted), True)
        by_id = {row.id: row for row in rows}
        return [by_id[row_id] for row_id in given if row_id in by_id]

    def _select(
        self, selection: Selection, include_embeddings: bool = False
    ) -> Work[list[VectorEntry]]:
        if selection.is_empty:
            return []
        nodes: Sequence[BaseNode]
        if self._kept is None:
            ids = None if selection.ids is None else list(selection.ids)
            filters = _sayable(selection.filters) if self.native_filters else None
            nodes = yield from self._call("get_nodes", "aget_nodes", ids, filters)
        else:
            listed = self._kept.listed(selection.ids)
            nodes = self._kept.read(listed, embeddings=include_embeddings)
        rows = [row for row in map(from_node, nodes) if selection.matches(row)]
        if not include_embeddings:
            return [replace(row, embedding=None) for row in rows]
        if any(row.embedding is None for row in rows):
            raise UnsupportedQueryError(
                f"{self._name} gives no vectors back; leave them out, e.g. by "
                "scan(include_embeddings=False)"
            )
        return rows

    def _delete(self, ids: str | Sequence[str], missing_ok: bool) -> Work[None]:
        given = check_delete_ids(ids)
        if not missing_ok:
            rows = yield from self._select(Selection(ids=given, include_deleted=True))
            unknown = set(given) - {row.id for row in rows}
            if unknown:
                raise not_found(unknown)
        yield from self._remove(given)

    def _delete_selected(self, selection: Selection) -> Work[int]:
        rows = yield from self._select(selection)
        yield from self._remove([str(row.id) for row in rows])
        return len(rows)

    def _remove(self, ids: Sequence[str]) -> Work[None]:
        if not ids:
            return
        yield from self._call("delete_nodes", "adelete_nodes", list(ids))
        if self._kept is not None:
            self._kept.forget(ids)

    def _clear(self) -> Work[None]:
        ids = [] if self._kept is None else self._kept.listed()
        yield from self._call("clear", "aclear")
        if self._kept is not None:
            self._kept.forget(ids)

    def _call(self, name: str, async_name: str, *args: Any) -> Work[Any]:
        """A method of the wrapped store."""
        store = self.llama_index_store
        try:
            step: Step[Any] = Step(getattr(store, name), getattr(store, async_name), *args)
            return (yield from step)
        except RagbridgeError:
            raise
        except NotImplementedError as error:
            raise UnsupportedQueryError(
                f"{self._name} has no {name}, which this call needs"
            ) from error
        except Exception as error:
            raise VectorStoreError(
                f"{self._name}.{name} failed with {type(error).__name__}"
            ) from error


def _kept_nodes(
    store: BasePydanticVectorStore, docstore: BaseDocumentStore | None
) -> KeptNodes | None:
    if docstore is not None:
        check_kind(docstore, BaseDocumentStore, "docstore")
    if not store.stores_text:
        return KeptNodes(store, SimpleDocumentStore() if docstore is None else docstore)
    if docstore is not None:
        raise InvalidConfigError(
            f"docstore must be None: {type(store).__name__} keeps the text of its nodes itself"
        )
    return None


def _metric_of(
    store: BasePydanticVectorStore, metric: SimilarityMetric | str | None
) -> SimilarityMetric:
    given = None if metric is None else check_metric(metric)
    known = None
    if isinstance(store, RagbridgeVectorStore):
        known = store.vector_store.metric
    elif isinstance(store, SimpleVectorStore):
        known = SimilarityMetric.COSINE
    if given and known and given is not known:
        raise InvalidConfigError(
            f"metric must be {str(known)!r}, by which this {type(store).__name__} compares, or None, "
            f"not {str(given)!r}"
        )
    chosen = given or known or SimilarityMetric.COSINE
    if chosen.is_binary:
        raise InvalidConfigError(
            f"metric {str(chosen)!r} compares binary vectors, but LlamaIndex's nodes carry dense ones"
        )
    return chosen


def _is_async(store: BasePydanticVectorStore) -> bool:
    """Whether it has async methods of its own; LlamaIndex's would hold the event loop up."""
    own, base = type(store), BasePydanticVectorStore
    return own.aquery is not base.aquery and own.async_add is not base.async_add


def _restricts(selection: Selection) -> bool:
    return selection.filters is not None or selection.document_ids is not None


def _sayable(filters: Filter | None) -> LlamaIndexFilters | None:
    """As much of `filters` as LlamaIndex has words for: they select all that `filters` select."""
    if filters is None or CARRIED_KEY in repr(filters):
        return None
    try:
        return to_llama_index_filters(filters)
    except UnsupportedFilterError:
        if not isinstance(filters, MetadataFilters) or filters.condition is not Condition.AND:
            return None
    parts = [part for child in filters.filters if (part := _sayable(child)) is not None]
    return LlamaIndexFilters(filters=_flat(parts)) if parts else None


def _flat(groups: Sequence[LlamaIndexFilters]) -> list[Any]:
    """The children of those that are met together: not every store takes groups in groups."""
    return [
        child
        for group in groups
        for child in (group.filters if group.condition is FilterCondition.AND else [group])
    ]


def _match(row: VectorEntry, score: float) -> VectorMatch:
    return VectorMatch(
        id=row.id,
        embedding=row.embedding,
        chunk=row.chunk,
        framework_data=row.framework_data,
        deleted=row.deleted,
        similarity_score=score,
    )
