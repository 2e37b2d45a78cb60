"""A LangChain vector store as a core store."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore as LangChainStore

from ragbridge._twins import Work
from ragbridge._wrapped_store import WrappedStore
from ragbridge.embeddings import EmbeddingLike, dense_part
from ragbridge.errors import (
    InvalidConfigError,
    InvalidEmbeddingError,
    RagbridgeError,
    UnsupportedFilterError,
    UnsupportedQueryError,
    VectorStoreError,
    shorten,
)
from ragbridge.filters import Filter
from ragbridge.langchain._known_stores import Batch, Row, Score, call, known_names, known_store
from ragbridge.langchain._packing import RESERVED_KEY, mentions, pack, unpack
from ragbridge.retrievers import check_kind
from ragbridge.stores._requests import (
    Selection,
    VectorShape,
    WriteBatch,
    check_delete_ids,
    check_get_ids,
    check_queries,
    check_query,
    not_found,
    prepare_batch,
)
from ragbridge.stores.base import (
    Capability,
    Leg,
    SimilarityMetric,
    VectorEntry,
    VectorMatch,
    VectorStoreQuery,
)

__all__ = ["LangChainVectorStore"]

T = TypeVar("T")

_FIRST_CANDIDATES: Final = 100
_MORE: Final = 4


class LangChainVectorStore(WrappedStore):
    """A LangChain vector store as a core store, as far as LangChain's interface carries it.

    What goes beyond that interface is known of some stores: LangChain's `InMemoryVectorStore`,
    `langchain_chroma.Chroma`, `langchain_postgres.PGVector`, `langchain_qdrant.QdrantVectorStore`,
    `langchain_community`'s `FAISS` and `RagbridgeVectorStore`, and of what is derived from them.

    | | known stores | others |
    |---|---|---|
    | `query` by vector | yes, with the core's scores | refused |
    | `query` by text | as the store does it, with the core's scores | with relevance scores, 0 to 1 |
    | `add` with embeddings | yes; Qdrant refuses | refused, but see `reembed` |
    | `add` without embeddings | the store embeds | the store embeds |
    | `get` | yes; PGVector, Qdrant and FAISS give no embeddings | without embeddings |
    | `scan`, `count`, `clear`, `delete_by_filter`, listings | yes; those three refuse | refused |

    `add` raises an InvalidEmbeddingError where there is no way to put ready vectors in; what the store
    itself raises comes as a VectorStoreError, with the cause chained.

    Of filters a store is told what it can say in its own terms, and every candidate is checked with
    `matches`: answers are exact, over as many candidates as it takes. A row that is more than an id, a
    text and metadata (a document's id, a place, a soft delete, framework data) has the rest as JSON
    text under the metadata key `_ragbridge`, which is taken out again.

    The store stays its owner's: `close` only ends the use of this object. A `RagbridgeVectorStore` has
    its core store in `.store`, which knows more of a row than LangChain's documents hold.

    Args:
        store: The LangChain store.
        filter_translator: Makes of a core filter what the store's `filter` argument takes; it may
            find too much, never too little. Where it raises UnsupportedFilterError, the store is
            told nothing.
        document_id_key: The metadata key under which the store's documents name the document that
            they are a part of.
        reembed: Let the store embed every text again, whatever embeddings are given with it.
        max_candidates: How many candidates may be looked at for a filter that the store cannot
            evaluate; beyond that a query raises instead of giving too few.

    Raises:
        InvalidConfigError: an argument is wrong, or the store compares vectors in a way that has no
            counterpart here.
    """

    def __init__(
        self,
        store: LangChainStore,
        *,
        filter_translator: Callable[[Filter], Any] | None = None,
        document_id_key: str | None = None,
        reembed: bool = False,
        max_candidates: int = 10_000,
    ) -> None:
        check_kind(store, LangChainStore, "store")
        _check_settings(filter_translator, document_id_key, max_candidates)
        self.store = store
        self.reembed = reembed
        self._translate = filter_translator
        self._document_id_key = document_id_key
        self._max_candidates = max_candidates
        self._known = known_store(store)
        self._name = type(store).__name__
        self._shape: VectorShape | None = None
        self.metric = SimilarityMetric.COSINE
        self._score: Score = float  # relevance scores, which are higher for better matches
        if self._known:
            self.metric, self._score = self._known.scale(store)
        self.capabilities = self._find_capabilities()

    def _find_capabilities(self) -> frozenset[Capability]:
        if self._known is None:
            return frozenset({Capability.FULL_TEXT})
        by_text = {Capability.FULL_TEXT} if self.store.embeddings is not None else set()
        return frozenset({Capability.DENSE, *by_text})

    def _do(self, work: Work[T]) -> T:
        return super()._do(self._as_ours(work))

    async def _ado(self, work: Work[T]) -> T:
        return await super()._ado(self._as_ours(work))

    def _as_ours(self, work: Work[T]) -> Work[T]:
        """`work`, with the store's own errors as ours."""
        try:
            return (yield from work)
        except RagbridgeError:
            raise
        except Exception as error:
            raise VectorStoreError(
                f"{self._name} failed with {type(error).__name__}; the cause is chained"
            ) from error

    def _add(self, entries: Sequence[VectorEntry]) -> Work[list[str]]:
        if self.reembed:
            entries = [replace(entry, embedding=None) for entry in _listed(entries)]
        batch = prepare_batch(entries, self._shape, self.metric)
        if batch is None:
            return []
        yield from self._write(batch)
        self._shape = batch.shape
        return batch.ids

    def _write(self, batch: WriteBatch) -> Work[None]:
        documents = [pack(row_id, row, self._document_id_key) for row_id, row in batch.rows.items()]
        if batch.shape == VectorShape(None, sparse=False):
            self._check_embeds()
            ids = list(batch.rows)
            yield from call(self.store, "add_documents", documents, ids=ids)
            return
        if batch.shape.sparse or batch.shape.binary:
            raise InvalidEmbeddingError(
                f"{self._name} holds dense vectors only, but the row {batch.ids[0]!r} has "
                f"{batch.shape}"
            )
        if self._known is None or self._known.add is None:
            raise InvalidEmbeddingError(
                f"there is no known way to put ready vectors into {self._name}, as the row "
                f"{batch.ids[0]!r} has one; with reembed=True the store embeds the texts again"
            )
        vectors = [dense_part(row.embedding) for row in batch.rows.values()]
        lists = [vector.tolist() for vector in vectors if vector is not None]
        yield from self._known.add(self.store, Batch(documents, lists))

    def _check_embeds(self) -> None:
        if self._known and self.store.embeddings is None:
            raise InvalidEmbeddingError(
                f"the rows have no embeddings, and {self._name} has no model that makes them"
            )

    def _query_many(self, queries: Sequence[VectorStoreQuery]) -> Work[list[list[VectorMatch]]]:
        answers = []
        for query in check_queries(queries):
            check_query(
                query,
                store=f"LangChainVectorStore over {self._name}",
                capabilities=self.capabilities,
                metric=self.metric,
                shape=None if Leg.FULL_TEXT in query.legs else self._shape,
            )
            answers.append((yield from self._query(query, Selection.of_query(query))))
        return answers

    def _query(self, query: VectorStoreQuery, selection: Selection) -> Work[list[VectorMatch]]:
        if selection.is_empty:
            return []
        if not query.legs:
            return (yield from self._list(query, selection))
        found = yield from self._search(query, selection)
        best = _cut(found, query.top_k)
        if not query.include_embeddings:
            return best
        rows = yield from self._read([str(match.id) for match in best])
        vectors = {document.id: vector for document, vector in rows}
        return [_with_embedding(match, vectors.get(match.id)) for match in best]

    def _list(self, query: VectorStoreQuery, selection: Selection) -> Work[list[VectorMatch]]:
        if query.min_score is not None and query.min_score > 0.0:
            return []
        rows = yield from self._select(selection, query.include_embeddings)
        return _cut([_match(row, 0.0) for row in rows], query.top_k)

    def _search(self, query: VectorStoreQuery, selection: Selection) -> Work[list[VectorMatch]]:
        pushed, is_whole = self._push(selection)
        enough = query.top_k if query.top_k != -1 else None
        asked = self._first_size(enough, is_whole)
        while True:
            candidates = yield from self._candidates(query, asked, pushed)
            fitting = [each for each in candidates if _is_good(each, query)]
            found = [match for match in fitting if selection.matches(match)]
            is_all = len(candidates) < asked or len(fitting) < len(candidates)
            if is_all or (enough is not None and len(found) >= enough):
                return found
            if enough is not None and asked >= self._max_candidates:
                raise UnsupportedFilterError(
                    f"{self._name} cannot evaluate the filter itself, and {asked} candidates hold "
                    f"only {len(found)} of the {enough} matches wanted; give a filter_translator, or "
                    "raise max_candidates"
                )
            asked = asked * _MORE if enough is None else min(asked * _MORE, self._max_candidates)

    def _first_size(self, enough: int | None, is_whole: bool) -> int:
        if enough is None:
            return _FIRST_CANDIDATES
        if is_whole:
            return enough
        generous = max(_MORE * enough, _FIRST_CANDIDATES)
        return max(enough, min(generous, self._max_candidates))

    def _candidates(self, query: VectorStoreQuery, k: int, pushed: Any) -> Work[list[VectorMatch]]:
        options = {"k": k} if pushed is None else {"k": k, "filter": pushed}
        vector = dense_part(query.embedding)
        if self._known is None:
            method = "similarity_search_with_relevance_scores"
        else:
            method = "similarity_search_with_score" if vector is None else self._known.search
        asked = query.text if vector is None else vector.tolist()
        found = yield from self._try(call(self.store, method, asked, **options))
        return [_match(self._entry(each), self._score(float(score))) for each, score in found]

    def _try(self, step: Any) -> Work[Any]:
        try:
            return (yield from step)
        except NotImplementedError as error:
            raise UnsupportedQueryError(
                f"{self._name} has no search by text with scores that are known to be higher for "
                f"better matches, and no other is known; known stores are {', '.join(known_names())}"
            ) from error

    def _push(self, selection: Selection) -> tuple[Any, bool]:
        """What the store is told of a selection, and whether that is all of it."""
        if self._known and self._known.takes_test:
            return (lambda document: selection.matches(self._entry(document))), True
        filters = selection.filters
        listed = selection.ids is not None or selection.document_ids is not None
        if filters is None or mentions(filters, RESERVED_KEY) or self._is_moved(filters):
            return None, filters is None and not listed
        if self._translate is not None:
            return _translated(self._translate, filters), False
        if self._known is None or self._known.push is None:
            return None, False
        return self._known.push(filters), not listed

    def _is_moved(self, filters: Filter) -> bool:
        key = self._document_id_key  # here it is no metadata, there it is
        return key is not None and mentions(filters, key)

    def _get(self, ids: Sequence[str], include_deleted: bool) -> Work[list[VectorEntry]]:
        wanted = check_get_ids(ids)
        if not wanted:
            return []
        if self._known and self._known.read:
            rows = yield from self._known.read(self.store, wanted)
        else:
            documents = yield from call(self.store, "get_by_ids", list(wanted))
            rows = [(document, None) for document in documents]
        entries = [self._entry(document, vector) for document, vector in rows]
        by_id = {entry.id: entry for entry in entries}
        found = [by_id[row_id] for row_id in wanted if row_id in by_id]
        return [entry for entry in found if include_deleted or not entry.deleted]

    def _select(
        self, selection: Selection, include_embeddings: bool = False
    ) -> Work[list[VectorEntry]]:
        if selection.is_empty:
            return []
        rows = yield from self._read(selection.ids)
        entries = [
            self._entry(document, vector if include_embeddings else None)
            for document, vector in rows
        ]
        return [entry for entry in entries if selection.matches(entry)]

    def _read(self, ids: Sequence[str] | None) -> Work[list[Row]]:
        if self._known is None or self._known.read is None:
            raise UnsupportedQueryError(
                f"there is no known way to list the rows of {self._name} with their embeddings, which "
                "scan, count, clear, delete_by_filter, listings and include_embeddings need"
            )
        return (yield from self._known.read(self.store, ids))

    def _delete(self, ids: str | Sequence[str], missing_ok: bool) -> Work[None]:
        wanted = check_delete_ids(ids)
        if not missing_ok:
            there = yield from self._get(wanted, include_deleted=True)
            if missing := set(wanted) - {str(row.id) for row in there}:
                raise not_found(missing)
        elif self._known is None or self._known.read is None:  # it may raise for unknown ids
            wanted = yield from self._known_among(wanted)
        yield from self._drop(wanted)

    def _known_among(self, ids: tuple[str, ...]) -> Work[tuple[str, ...]]:
        try:
            there = yield from self._get(ids, include_deleted=True)
        except NotImplementedError:  # a store without get_by_ids
            return ids
        return tuple(str(row.id) for row in there)

    def _delete_selected(self, selection: Selection) -> Work[int]:
        rows = yield from self._select(selection)
        yield from self._drop([str(row.id) for row in rows])
        return len(rows)

    def _clear(self) -> Work[None]:
        yield from self._delete_selected(_EVERYTHING)

    def _drop(self, ids: Sequence[str]) -> Work[None]:
        if ids:  # to many stores an empty list means everything
            yield from call(self.store, "delete", list(ids))

    def _entry(self, document: Document, vector: EmbeddingLike | None = None) -> VectorEntry:
        tidy = self._known.tidy(document) if self._known else document
        return VectorEntry(embedding=vector, **unpack(tidy, self._document_id_key))


_EVERYTHING: Final = Selection(include_deleted=True)


def _listed(entries: object) -> Any:
    return entries if not hasattr(entries, "__iter__") else list(entries)


def _translated(translate: Callable[[Filter], Any], filters: Filter) -> Any:
    try:
        return translate(filters)
    except UnsupportedFilterError:
        return None


def _is_good(match: VectorMatch, query: VectorStoreQuery) -> bool:
    return query.min_score is None or match.similarity_score >= query.min_score


def _match(entry: VectorEntry, score: float) -> VectorMatch:
    return VectorMatch(similarity_score=score, **_fields(entry))


def _with_embedding(match: VectorMatch, vector: EmbeddingLike | None) -> VectorMatch:
    fields = {**_fields(match), "embedding": vector}
    return VectorMatch(similarity_score=match.similarity_score, **fields)


def _fields(entry: VectorEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "embedding": entry.embedding,
        "chunk": entry.chunk,
        "framework_data": entry.framework_data,
        "deleted": entry.deleted,
    }


def _cut(matches: list[VectorMatch], top_k: int) -> list[VectorMatch]:
    ranked = sorted(matches, key=lambda match: (-match.similarity_score, match.id or ""))
    return ranked if top_k == -1 else ranked[:top_k]


def _check_settings(translate: object, document_id_key: object, max_candidates: object) -> None:
    if translate is not None and not callable(translate):
        raise InvalidConfigError(
            f"filter_translator must be a function or None, not {shorten(translate)}"
        )
    if document_id_key is not None and not (isinstance(document_id_key, str) and document_id_key):
        raise InvalidConfigError(
            f"document_id_key must be a metadata key or None, not {shorten(document_id_key)}"
        )
    if (
        not isinstance(max_candidates, int)
        or isinstance(max_candidates, bool)
        or max_candidates < 1
    ):
        raise InvalidConfigError(
            f"max_candidates must be a positive integer, not {shorten(max_candidates)}"
        )
