"""How known LangChain stores take ready vectors, search by vector, and which way their scores point.

LangChain's interface has neither. A store is recognised by the names of its class and of the package
that the class is from; nothing is imported.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final, NamedTuple

from langchain_core.documents import Document

from ragbridge._twins import Step, Work
from ragbridge.embeddings import EmbeddingLike
from ragbridge.errors import InvalidConfigError, InvalidEmbeddingError
from ragbridge.filters import Filter
from ragbridge.langchain._pushdown import for_chroma, for_pgvector
from ragbridge.langchain.documents import to_langchain_documents
from ragbridge.stores.base import SimilarityMetric, VectorEntry

Score = Callable[[float], float]
Row = tuple[Document, EmbeddingLike | None]


def _as_found(document: Document) -> Document:
    return document


class Batch(NamedTuple):
    """Documents with ids, and their vectors."""

    documents: list[Document]
    vectors: list[list[float]]

    @property
    def columns(self) -> dict[str, list[Any]]:
        """As most stores take them."""
        return {
            "texts": [document.page_content for document in self.documents],
            "embeddings": self.vectors,
            "metadatas": [document.metadata for document in self.documents],
            "ids": self.ids,
        }

    @property
    def ids(self) -> list[str]:
        """The documents' ids."""
        return [str(document.id) for document in self.documents]


@dataclass(frozen=True, slots=True)
class KnownStore:
    """One row of the table.

    Attributes:
        scale: The metric of a store, and what makes the core's score of its own.
        search: Its method for scored searches by vector.
        add: Puts ready vectors in; None where there is no way.
        read: Gives rows with their vectors, those with the ids or all; None where there is no way.
        push: A filter in its own terms, which may hold more often than the filter does; None where
            it takes none that is known here.
        takes_test: It takes a test of documents for a filter.
        tidy: Takes out of a document what the store has put into its metadata.
    """

    scale: Callable[[Any], tuple[SimilarityMetric, Score]]
    search: str = "similarity_search_with_score_by_vector"
    add: Callable[[Any, Batch], Work[None]] | None = None
    read: Callable[[Any, Sequence[str] | None], Work[list[Row]]] | None = None
    push: Callable[[Filter | None], Any] | None = None
    takes_test: bool = False
    tidy: Callable[[Document], Document] = _as_found


def known_store(store: object) -> KnownStore | None:
    """The row of the table for `store`, if it or a class that it is derived from is known."""
    names = ((kind.__module__.partition(".")[0], kind.__name__) for kind in type(store).__mro__)
    return next((_KNOWN[name] for name in names if name in _KNOWN), None)


def call(store: Any, method: str, *args: Any, **kwargs: Any) -> Step[Any]:
    """A step that calls a method of a store, or its async twin; in a thread if it has none."""
    sync = getattr(store, method)
    # A PGVector is made for one way of calling, and fails in the other.
    is_async = getattr(store, "async_mode", True)
    twin = getattr(store, f"a{method}", None) if is_async else None
    return Step(sync, twin or (lambda *a, **k: asyncio.to_thread(sync, *a, **k)), *args, **kwargs)


def _as_it_is(score: float) -> float:
    return score


def _from_one(distance: float) -> float:
    return 1.0 - distance


def _negative(score: float) -> float:
    return -score


def _of_distance(distance: float) -> float:
    return 1.0 / (1.0 + distance)


def _of_square(squared: float) -> float:
    return 1.0 / (1.0 + sqrt(max(0.0, squared)))


def _of_unit_square(squared: float) -> float:
    return 1.0 - squared / 2.0


_COSINE, _DOT = SimilarityMetric.COSINE, SimilarityMetric.DOT_PRODUCT
_EUCLIDEAN = SimilarityMetric.EUCLIDEAN

_CHROMA_SCALES: Final = {
    "cosine": (_COSINE, _from_one),
    "l2": (_EUCLIDEAN, _of_square),
    "ip": (_DOT, _from_one),
}
_PGVECTOR_SCALES: Final = {
    "cosine": (_COSINE, _from_one),
    "l2": (_EUCLIDEAN, _of_distance),
    "inner": (_DOT, _negative),
}
_QDRANT_SCALES: Final = {
    "Cosine": (_COSINE, _as_it_is),
    "Euclid": (_EUCLIDEAN, _of_distance),
    "Dot": (_DOT, _as_it_is),
}
_FAISS_SCALES: Final = {
    ("EUCLIDEAN_DISTANCE", False): (_EUCLIDEAN, _of_square),
    ("EUCLIDEAN_DISTANCE", True): (_COSINE, _of_unit_square),
    ("COSINE", False): (_EUCLIDEAN, _of_square),
    ("COSINE", True): (_COSINE, _of_unit_square),
    ("MAX_INNER_PRODUCT", False): (_DOT, _as_it_is),
    ("MAX_INNER_PRODUCT", True): (_COSINE, _as_it_is),
}


def _pick(
    store: object, name: object, scales: Mapping[Any, tuple[SimilarityMetric, Score]]
) -> tuple[SimilarityMetric, Score]:
    if name not in scales:
        raise InvalidConfigError(
            f"{type(store).__name__} compares vectors by {name!r}, which has no counterpart here; "
            f"there are {', '.join(map(str, scales))}"
        )
    return scales[name]


def _name(value: Any) -> Any:
    return getattr(value, "value", value)


def _ragbridge_scale(store: Any) -> tuple[SimilarityMetric, Score]:
    return store.store.metric, _as_it_is


def _chroma_scale(store: Any) -> tuple[SimilarityMetric, Score]:
    configuration = store._collection.configuration
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    return _pick(store, index.get("space"), _CHROMA_SCALES)


def _pgvector_scale(store: Any) -> tuple[SimilarityMetric, Score]:
    return _pick(store, _name(store._distance_strategy), _PGVECTOR_SCALES)


def _qdrant_scale(store: Any) -> tuple[SimilarityMetric, Score]:
    return _pick(store, _name(store.distance), _QDRANT_SCALES)


def _faiss_scale(store: Any) -> tuple[SimilarityMetric, Score]:
    return _pick(store, (_name(store.distance_strategy), store._normalize_L2), _FAISS_SCALES)


def _add_columns(store: Any, batch: Batch) -> Work[None]:
    yield from call(store, "add_embeddings", **batch.columns)


def _add_to_faiss(store: Any, batch: Batch) -> Work[None]:
    dimension = len(batch.vectors[0])
    if store.index.d != dimension:  # before the old rows are gone
        raise InvalidEmbeddingError(
            f"the rows have vectors of dimension {dimension}, but FAISS holds {store.index.d}"
        )
    there = set(store.index_to_docstore_id.values())
    if old := [row_id for row_id in batch.ids if row_id in there]:
        yield from call(store, "delete", old)
    columns = batch.columns
    pairs = list(zip(columns.pop("texts"), columns.pop("embeddings"), strict=True))
    yield from call(store, "add_embeddings", pairs, **columns)


def _add_in_memory(store: Any, batch: Batch) -> Work[None]:
    def put() -> None:
        for document, vector in zip(batch.documents, batch.vectors, strict=True):
            store.store[document.id] = {
                "id": document.id,
                "vector": vector,
                "text": document.page_content,
                "metadata": document.metadata,
            }

    async def aput() -> None:
        put()

    yield from Step(put, aput)


def _add_to_chroma(store: Any, batch: Batch) -> Work[None]:
    size = store._client.get_max_batch_size()
    for start in range(0, len(batch.documents), size):
        part = Batch(batch.documents[start : start + size], batch.vectors[start : start + size])
        yield from _upsert_to_chroma(store, part)


def _upsert_to_chroma(store: Any, batch: Batch) -> Work[None]:
    # Chroma keeps the old metadata keys of a row that it replaces, unless they are set to None.
    old = yield from call(store, "get", ids=batch.ids, include=["metadatas"])
    gone = {
        row_id: dict.fromkeys(metadata or {})
        for row_id, metadata in zip(old["ids"], old["metadatas"], strict=True)
    }
    metadatas = [
        {**gone.get(str(document.id), {}), **document.metadata} or None
        for document in batch.documents
    ]
    yield from call(
        store._collection,
        "upsert",
        ids=batch.ids,
        embeddings=batch.vectors,
        documents=[document.page_content for document in batch.documents],
        metadatas=metadatas,
    )


def _tidy_qdrant(document: Document) -> Document:
    metadata = dict(document.metadata)
    row_id = metadata.pop("_id", document.id)
    metadata.pop("_collection_name", None)
    return Document(document.page_content, id=str(row_id), metadata=metadata)


def _read_in_memory(store: Any, ids: Sequence[str] | None) -> Work[list[Row]]:
    yield from ()
    wanted = list(store.store) if ids is None else ids
    rows = [store.store[row_id] for row_id in wanted if row_id in store.store]
    return [
        (Document(row["text"], id=row["id"], metadata=row["metadata"]), row["vector"])
        for row in rows
    ]


def _read_chroma(store: Any, ids: Sequence[str] | None) -> Work[list[Row]]:
    if ids is not None and not ids:
        return []  # Chroma would give everything
    include = ["documents", "metadatas", "embeddings"]
    got = yield from call(store, "get", ids=None if ids is None else list(ids), include=include)
    columns = (got["ids"], got["documents"], got["metadatas"], got["embeddings"])
    return [
        (Document(text or "", id=row_id, metadata=metadata or {}), vector)
        for row_id, text, metadata, vector in zip(*columns, strict=True)
    ]


def _read_ragbridge(store: Any, ids: Sequence[str] | None) -> Work[list[Row]]:
    async def ascan() -> list[VectorEntry]:
        return [row async for row in store.store.ascan()]

    if ids is None:
        rows = yield from Step(lambda: list(store.store.scan()), ascan)
    else:
        rows = yield from call(store.store, "get", list(ids))
    vectors = [row.embedding for row in rows]
    return [*zip(to_langchain_documents(rows), vectors, strict=True)]


_KNOWN: Final[Mapping[tuple[str, str], KnownStore]] = {
    ("langchain_core", "InMemoryVectorStore"): KnownStore(
        lambda _: (_COSINE, _as_it_is),
        add=_add_in_memory,
        read=_read_in_memory,
        takes_test=True,
    ),
    ("ragbridge", "RagbridgeVectorStore"): KnownStore(
        _ragbridge_scale, add=_add_columns, read=_read_ragbridge, push=lambda filters: filters
    ),
    ("langchain_chroma", "Chroma"): KnownStore(
        _chroma_scale,
        search="similarity_search_by_vector_with_relevance_scores",
        add=_add_to_chroma,
        read=_read_chroma,
        push=for_chroma,
    ),
    ("langchain_postgres", "PGVector"): KnownStore(
        _pgvector_scale, add=_add_columns, push=for_pgvector
    ),
    ("langchain_community", "FAISS"): KnownStore(_faiss_scale, add=_add_to_faiss),
    ("langchain_qdrant", "QdrantVectorStore"): KnownStore(_qdrant_scale, tidy=_tidy_qdrant),
}


def known_names() -> Iterator[str]:
    """The stores of the table, for messages."""
    return (f"{package}.{name}" for package, name in _KNOWN)
