"""What every store does with a call before it touches its rows: checks, ids, defaults."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

import numpy as np

from ragbridge._filter_tree import TRUE, normalize
from ragbridge._twins import Work, pause, run
from ragbridge.embeddings import (
    BinaryVector,
    EmbeddingLike,
    Vector,
    compared_part,
    dense_part,
    dense_parts,
    sparse_part,
)
from ragbridge.errors import (
    EntryNotFoundError,
    InvalidConfigError,
    InvalidEmbeddingError,
    InvalidInputError,
    InvalidQueryError,
    UnsupportedQueryError,
    shorten,
)
from ragbridge.filters import Filter, matches
from ragbridge.stores._contents import check_contents
from ragbridge.stores._ranking import WeightedRanker
from ragbridge.stores.base import (
    Capability,
    Leg,
    SimilarityMetric,
    VectorEntry,
    VectorStoreQuery,
    check_filters,
    check_id,
    check_ids,
)

DEFAULT_LEG_TOP_K = 100

# Squared norms must stay within float32, in which engines compute them.
_MAX_SQUARED_NORM = float(np.finfo(np.float32).max)
_MIN_SQUARED_NORM = float(np.finfo(np.float32).tiny)
_ROWS_AT_ONCE = 2048
QUERY_VECTOR = "the query vector"
_CAPABILITIES = {leg: Capability(leg) for leg in Leg}


def check_metric(value: object) -> SimilarityMetric:
    """`value` as a metric: one, or its name.

    Raises:
        InvalidConfigError: anything else.
    """
    try:
        return SimilarityMetric(value)  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidConfigError(
            f"metric must be one of {', '.join(SimilarityMetric)}, not {shorten(value)}"
        ) from error


@dataclass(frozen=True, slots=True)
class VectorShape:
    """Which vectors a store holds: fixed by its first rows.

    Attributes:
        dimension: Of the dense or binary vectors, or None.
        sparse: There are sparse ones.
        binary: They are binary, and the dimension counts bits.
    """

    dimension: int | None
    sparse: bool
    binary: bool = False

    @classmethod
    def of(cls, entry: VectorEntry) -> "VectorShape":
        """The shape of one entry's vectors."""
        compared = compared_part(entry.embedding)
        return cls(
            None if compared is None else len(compared),
            sparse_part(entry.embedding) is not None,
            isinstance(compared, BinaryVector),
        )

    def __str__(self) -> str:
        kind = "binary" if self.binary else "dense"
        parts = [] if self.dimension is None else [f"a {kind} vector of dimension {self.dimension}"]
        parts += ["a sparse vector"] if self.sparse else []
        return " and ".join(parts) or "no vector"


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """Checked entries of one `add`.

    Attributes:
        ids: One for each entry given, in order: what `add` returns.
        rows: The entries to write by id: of repeated ids the last.
        shape: The vectors that all of them have.
    """

    ids: list[str]
    rows: dict[str, VectorEntry]
    shape: VectorShape


def prepare_batch(
    entries: Sequence[VectorEntry], shape: VectorShape | None, metric: SimilarityMetric
) -> WriteBatch | None:
    """The checked entries, or None where there are none.

    Args:
        entries: What `add` was given.
        shape: What the store holds already, or None before the first add.
        metric: The store's; COSINE refuses zero vectors, each refuses vectors that it does not
            compare.

    Raises:
        InvalidInputError: an entry is no VectorEntry.
        InvalidDocumentError: a chunk became invalid since it was made, or cannot be stored.
        InvalidEmbeddingError: an entry's vectors do not fit the store.
    """
    return run(preparing(entries, shape, metric))


def preparing(
    entries: Sequence[VectorEntry], shape: VectorShape | None, metric: SimilarityMetric
) -> Work[WriteBatch | None]:
    """What `prepare_batch` does, with pauses, in which an event loop can turn to other tasks."""
    given = _check_entries(entries)
    if not given:
        return None
    shape = shape or VectorShape.of(given[0])
    check_kind(given[0].embedding, metric, f"entries[0] (id {given[0].id!r})")
    ids: list[str] = []
    rows: dict[str, VectorEntry] = {}
    for start in range(0, len(given), _ROWS_AT_ONCE):
        part = check_contents(given[start : start + _ROWS_AT_ONCE], start)
        _check_shapes(part, start, shape)
        _check_dense(part, start, shape, metric)
        part_ids = [entry.id or str(uuid4()) for entry in part]
        ids += part_ids
        rows.update(zip(part_ids, part, strict=True))
        yield from pause()
    return WriteBatch(ids, rows, shape)


def _check_entries(entries: object) -> list[VectorEntry]:
    if isinstance(entries, VectorEntry) or not hasattr(entries, "__iter__"):
        raise InvalidInputError(f"entries must be a list of VectorEntry, not {shorten(entries)}")
    checked = list(entries)
    if all(issubclass(kind, VectorEntry) for kind in set(map(type, checked))):
        return checked
    position = next(i for i, entry in enumerate(checked) if not isinstance(entry, VectorEntry))
    raise InvalidInputError(
        f"entries[{position}] must be a VectorEntry, not {shorten(checked[position])}"
    )


def check_kind(embedding: EmbeddingLike | None, metric: SimilarityMetric, name: str) -> None:
    """Refuse dense vectors where the metric compares binary ones, and the other way round.

    Raises:
        InvalidEmbeddingError: see above.
    """
    compared = compared_part(embedding)
    if compared is None or isinstance(compared, BinaryVector) is metric.is_binary:
        return
    kind, other = ("dense", "binary") if metric.is_binary else ("binary", "dense")
    fitting = ", ".join(each for each in SimilarityMetric if each.is_binary is not metric.is_binary)
    raise InvalidEmbeddingError(
        f"{name} is a {kind} vector, but the metric {str(metric)!r} compares {other} ones; give a "
        f"{other} vector, or use a store with one of the metrics {fitting}"
    )


def _check_shapes(entries: Sequence[VectorEntry], start: int, shape: VectorShape) -> None:
    embeddings = [entry.embedding for entry in entries]
    if not shape.sparse and set(map(type, embeddings)) == {np.ndarray}:
        lengths = set(map(len, embeddings))  # type: ignore[arg-type]
        if lengths == {shape.dimension}:
            return
    for position, entry in enumerate(entries, start):
        _check_shape(entry, position, shape)


def _check_shape(entry: VectorEntry, position: int, shape: VectorShape) -> None:
    found = VectorShape.of(entry)
    if found != shape:
        raise InvalidEmbeddingError(
            f"entries[{position}] (id {entry.id!r}) has {found}, but the store holds {shape}; "
            "embed all rows with the same model"
        )
    sparse = sparse_part(entry.embedding)
    if sparse is not None and not _is_positive(sparse.values):
        raise InvalidEmbeddingError(
            f"entries[{position}] (id {entry.id!r}) has an empty or non-positive sparse vector; "
            "leave zeros out, and give at least one positive weight"
        )


def _is_positive(weights: Vector) -> bool:
    return bool(weights.size and np.isfinite(weights).all() and weights.min() > 0)


def _check_dense(
    entries: Sequence[VectorEntry], start: int, shape: VectorShape, metric: SimilarityMetric
) -> None:
    if shape.dimension is None or shape.binary:
        return
    vectors = dense_parts([entry.embedding for entry in entries])
    rows = np.array(vectors, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        squared = np.einsum("ij,ij->i", rows, rows)
    low = _MIN_SQUARED_NORM if metric is SimilarityMetric.COSINE else 0.0
    if not ((squared >= low) & (squared <= _MAX_SQUARED_NORM)).all():
        for position, (entry, vector) in enumerate(zip(entries, vectors, strict=True), start):
            check_dense(vector, metric, f"entries[{position}] (id {entry.id!r})")


def check_dense(vector: Vector | None, metric: SimilarityMetric, name: str) -> None:
    """Refuse what no engine can compare.

    Raises:
        InvalidEmbeddingError: not finite (an array may change after its check), a norm beyond
            float32, or zero under COSINE.
    """
    if vector is None:
        return
    wide = vector.astype(np.float64)  # in which no square of a float32 overflows
    squared = float(wide.dot(wide))
    if not squared <= _MAX_SQUARED_NORM:
        raise InvalidEmbeddingError(
            f"{name} has values that are not finite, or so large that its norm is; scale it down"
        )
    if squared < _MIN_SQUARED_NORM and metric is SimilarityMetric.COSINE:
        raise InvalidEmbeddingError(
            f"{name} is a zero vector, which has no direction and so no cosine; use another metric "
            "or leave the row out"
        )


def check_queries(queries: object) -> list[VectorStoreQuery]:
    """`queries` as a list of queries.

    Raises:
        InvalidQueryError: no list, or an item is no VectorStoreQuery.
    """
    if isinstance(queries, VectorStoreQuery) or not hasattr(queries, "__iter__"):
        raise InvalidQueryError(f"queries must be a list of queries, not {shorten(queries)}")
    checked = list(queries)
    for query in checked:
        if not isinstance(query, VectorStoreQuery):
            raise InvalidQueryError(f"query must be a VectorStoreQuery, not {shorten(query)}")
    return checked


def check_query(
    query: VectorStoreQuery,
    *,
    store: str,
    capabilities: frozenset[Capability],
    metric: SimilarityMetric,
    shape: VectorShape | None,
    options: Mapping[str, object] | None = None,
) -> None:
    """Refuse what the store cannot serve.

    Args:
        query: What was asked.
        store: The store's name for errors.
        capabilities: What the store can serve.
        metric: The store's.
        shape: The vectors it holds, or None while it is new.
        options: The names of the options that it knows.

    Raises:
        UnsupportedQueryError: a leg or an option is not there.
        InvalidEmbeddingError: the vector does not fit, or is none that the metric compares.
        InvalidQueryError: no VectorStoreQuery, or the ranker's weights do not fit the legs.
    """
    if not isinstance(query, VectorStoreQuery):
        raise InvalidQueryError(f"query must be a VectorStoreQuery, not {shorten(query)}")
    _check_capabilities(query, store, capabilities)
    _check_options(query, store, options or {})
    _check_weights(query)
    check_kind(query.embedding, metric, QUERY_VECTOR)
    check_dense(dense_part(query.embedding), metric, QUERY_VECTOR)
    if shape is None:
        return
    compared = compared_part(query.embedding)
    if compared is not None and shape.dimension is None:
        raise UnsupportedQueryError(f"{store} holds {shape}, so it has no dense leg")
    if compared is not None and shape.dimension != len(compared):
        raise InvalidEmbeddingError(
            f"the query vector has dimension {len(compared)}, but {store} holds {shape}; "
            "embed queries with the model that embedded the rows"
        )
    if Leg.SPARSE in query.legs and not shape.sparse:
        raise UnsupportedQueryError(f"{store} holds {shape}, so it has no sparse leg")


def _check_capabilities(
    query: VectorStoreQuery, store: str, capabilities: frozenset[Capability]
) -> None:
    for leg in query.legs:
        if _CAPABILITIES[leg] not in capabilities:
            raise UnsupportedQueryError(
                f"{store} has no {leg} leg; it serves {', '.join(sorted(capabilities))}"
            )
    if len(query.legs) > 1 and Capability.HYBRID not in capabilities:
        raise UnsupportedQueryError(
            f"{store} serves one leg at a time, not {' and '.join(query.legs)}"
        )


def _check_options(query: VectorStoreQuery, store: str, known: Mapping[str, object]) -> None:
    for option in query.options:
        if option not in known:
            raise UnsupportedQueryError(
                f"{store} does not know the option {option!r}; "
                f"it knows {', '.join(sorted(known)) or 'none'}"
            )


def _check_weights(query: VectorStoreQuery) -> None:
    legs = query.legs
    if len(legs) < 2 or not isinstance(query.ranker, WeightedRanker):
        return
    if len(query.ranker.weights) != len(legs):
        raise InvalidQueryError(
            f"WeightedRanker has {len(query.ranker.weights)} weights for the {len(legs)} legs "
            f"{', '.join(legs)}; give one for each"
        )


def score_scale(leg: Leg, metric: SimilarityMetric) -> str:
    """What a leg's scores are, for `_ranking.fuse`."""
    return metric if leg is Leg.DENSE else leg


def leg_limit(query: VectorStoreQuery, leg: Leg) -> int:
    """How many candidates a leg of a hybrid search contributes; -1 for all."""
    if query.leg_top_k and leg in query.leg_top_k:
        return query.leg_top_k[leg]
    return -1 if query.top_k == -1 else max(query.top_k, DEFAULT_LEG_TOP_K)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows a call is about: everything that is given must hold."""

    filters: Filter | None = None
    ids: tuple[str, ...] | None = None
    document_ids: tuple[str, ...] | None = None
    include_deleted: bool = False

    @classmethod
    def of(
        cls,
        filters: object = None,
        ids: object = None,
        document_ids: object = None,
        *,
        include_deleted: bool = False,
    ) -> "Selection":
        """The checked selection.

        Raises:
            InvalidQueryError: an argument is wrong; the message names it.
        """
        return cls(
            check_filters(filters),
            check_ids(ids, "ids"),
            check_ids(document_ids, "document_ids"),
            include_deleted,
        )

    @classmethod
    def of_query(cls, query: VectorStoreQuery) -> "Selection":
        """What a query restricts."""
        return cls.of(
            query.filters, query.ids, query.document_ids, include_deleted=query.include_deleted
        )

    @classmethod
    def for_delete(cls, filters: object, ids: object, document_ids: object) -> "Selection":
        """What a delete is about, soft-deleted rows included.

        Raises:
            InvalidQueryError: nothing restricts it.
        """
        selection = cls.of(filters, ids, document_ids, include_deleted=True)
        listed = selection.ids is not None or selection.document_ids is not None
        if not listed and normalize(selection.filters) == TRUE:
            raise InvalidQueryError(
                "delete_by_filter needs filters, ids or document_ids that restrict it; "
                "clear() empties a store"
            )
        return selection

    @property
    def is_empty(self) -> bool:
        """Whether an empty list among the restrictions rules out every row."""
        return self.ids == () or self.document_ids == ()

    def matches(self, entry: VectorEntry) -> bool:
        """Whether one row is selected: the definition, row by row."""
        return (
            (self.include_deleted or not entry.deleted)
            and (self.ids is None or entry.id in self.ids)
            and (self.document_ids is None or entry.chunk.document_id in self.document_ids)
            and matches(self.filters, entry.chunk.metadata)
        )


def check_get_ids(ids: object) -> tuple[str, ...]:
    """The ids of a `get`, each once.

    Raises:
        InvalidQueryError: no list of ids.
    """
    checked = check_ids(ids, "ids")
    if checked is None:
        raise InvalidQueryError("ids must be a list of ids, not None")
    return checked


def check_delete_ids(ids: object) -> tuple[str, ...]:
    """The ids of a delete: one string or several.

    Raises:
        InvalidQueryError: anything else.
    """
    return (check_id(ids, "ids"),) if isinstance(ids, str) else check_get_ids(ids)


def not_found(ids: Iterable[str]) -> EntryNotFoundError:
    """The error for a delete of rows that are not there."""
    unknown = sorted(ids)
    return EntryNotFoundError(f"no rows have the ids {shorten(unknown)}", ids=unknown)
