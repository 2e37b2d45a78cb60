"""LlamaIndex's queries as the core's, and the core's answers as LlamaIndex's."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, inf
from typing import Any, Final, NamedTuple, TypeAlias

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import VectorStoreQuery as LlamaIndexQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode as Mode
from llama_index.core.vector_stores.types import VectorStoreQueryResult

from ragbridge._adapting import diverse
from ragbridge.embeddings import (
    EmbeddingLike,
    HybridVector,
    SparseVector,
    as_embedding,
    as_vector,
    dense_part,
)
from ragbridge.errors import InvalidQueryError, UnsupportedQueryError, shorten
from ragbridge.llama_index.documents import to_llama_index_node
from ragbridge.llama_index.filters import from_llama_index_filters
from ragbridge.llama_index.learners import LEARNERS, scores_by_learner
from ragbridge.stores._ranking import best_first
from ragbridge.stores.base import (
    DEFAULT_RANKER,
    Leg,
    Ranker,
    VectorMatch,
    VectorStoreQuery,
    WeightedRanker,
    check_ids,
    check_top_k,
)

Ranked: TypeAlias = Sequence[tuple[VectorMatch, float]]
"""Rows with their scores, best first."""

_USUAL: Final = vars(LlamaIndexQuery())
_IN_USUAL_ONES: Final = ("query_embedding", "query_str", "similarity_top_k")
_ASKED_NOTHING: Final = VectorStoreQuery()
_EMBEDDING_FIELD: Final = "embedding"
_HYBRID: Final = frozenset({Mode.HYBRID, Mode.SEMANTIC_HYBRID})
_WITH_TEXT: Final = frozenset({Mode.SPARSE, Mode.TEXT_SEARCH, *_HYBRID})
_WITH_VECTOR: Final = frozenset({Mode.MMR, *LEARNERS, *_HYBRID})
_MMR_THRESHOLD: Final = 0.5
_MMR_PREFETCH_FACTOR: Final = 4.0


def usual_query(query: object) -> VectorStoreQuery | None:
    """What the core store is asked by a query that is nothing but a vector; None for any other.

    Nearly all are. It is the same that `Request.to_core` makes, in fewer steps.

    Raises:
        InvalidQueryError: similarity_top_k is wrong.
        InvalidEmbeddingError: query_embedding is.
    """
    if type(query) is not LlamaIndexQuery or query.query_embedding is None:
        return None
    told = vars(query)
    if told != _USUAL | {name: told[name] for name in _IN_USUAL_ONES}:
        return None
    top_k = check_top_k(query.similarity_top_k, "similarity_top_k")
    return _ASKED_NOTHING.asking(embedding=as_embedding(query.query_embedding), top_k=top_k)


def result_of(nodes: Sequence[BaseNode], scores: Iterable[float]) -> VectorStoreQueryResult:
    """An answer as LlamaIndex has it."""
    ids = [node.node_id for node in nodes]
    return VectorStoreQueryResult(nodes=nodes, similarities=[*scores], ids=ids)


class Settings(NamedTuple):
    """What a call or its store says beside the query itself.

    Attributes:
        mmr_threshold: Goes before the query's.
        mmr_prefetch_factor: How many times `similarity_top_k` rows MMR chooses from.
        mmr_prefetch_k: How many rows it chooses from.
        ranker: Fuses the legs of a hybrid query without alpha.
        min_score: Only rows with at least this score.
        options: The core store's own.
        learner_candidates: How many rows a learner is fitted to, at the most.
    """

    mmr_threshold: float | None = None
    mmr_prefetch_factor: float | None = None
    mmr_prefetch_k: int | None = None
    ranker: Ranker | None = None
    min_score: float | None = None
    options: Mapping[str, Any] | None = None
    learner_candidates: int = 10_000


class Request(NamedTuple):
    """A checked query of LlamaIndex.

    Raises:
        InvalidQueryError: something in it is wrong; the message names the field.
        InvalidFilterError: its filters are.
    """

    query: LlamaIndexQuery
    mode: Mode
    settings: Settings

    @classmethod
    def of(cls, query: object, settings: Settings) -> "Request":
        """The checked request."""
        if not isinstance(query, LlamaIndexQuery):
            raise InvalidQueryError(
                f"query must be LlamaIndex's VectorStoreQuery, not {shorten(query)}"
            )
        request = cls(query, _check_mode(query.mode), settings)
        request._check()
        return request

    @property
    def sparse_text(self) -> str | None:
        """The text that a sparse encoder is asked for, if the store has one."""
        return self.query.query_str if self.mode in {Mode.SPARSE, *_HYBRID} else None

    def to_core(self, sparse: SparseVector | None = None) -> VectorStoreQuery:
        """What the core store is asked.

        Args:
            sparse: The sparse vector of `sparse_text`; without it, words are compared.
        """
        query = self.query
        return VectorStoreQuery(
            embedding=self._embedding(sparse),
            text=query.query_str if self.mode in _WITH_TEXT and sparse is None else None,
            filters=from_llama_index_filters(query.filters),
            top_k=self._rows(),
            ids=check_ids(query.node_ids or None, "node_ids"),
            document_ids=check_ids(query.doc_ids or None, "doc_ids"),
            ranker=self._ranker(),
            leg_top_k=self._leg_top_k(Leg.FULL_TEXT if sparse is None else Leg.SPARSE),
            min_score=self.settings.min_score,
            include_embeddings=self.mode is Mode.MMR or self.mode in LEARNERS,
            options=self.settings.options or {},
        )

    def rank(self, matches: Sequence[VectorMatch]) -> Ranked:
        """What is answered of the rows that the core found."""
        if self.mode is Mode.MMR:
            matches = self._diverse(matches)
        elif self.mode in LEARNERS:
            return self._learned(matches)
        return [(match, match.similarity_score) for match in matches]

    def to_result(self, ranked: Ranked) -> VectorStoreQueryResult:
        """The answer as LlamaIndex has it."""
        nodes = [to_llama_index_node(match) for match, _ in ranked]
        if self.query.output_fields is not None and "*" not in self.query.output_fields:
            wanted = set(self.query.output_fields)
            for node in nodes:
                node.metadata = {k: v for k, v in node.metadata.items() if k in wanted}
        return result_of(nodes, [score for _, score in ranked])

    def _check(self) -> None:
        query = self.query
        check_top_k(query.similarity_top_k, "similarity_top_k")
        for name in ("sparse_top_k", "hybrid_top_k"):
            if getattr(query, name) is not None:
                check_top_k(getattr(query, name), name)
        _check_share(query.alpha, "alpha")
        _check_share(query.mmr_threshold, "mmr_threshold")
        _check_share(self.settings.mmr_threshold, "mmr_threshold")
        _check_embedding_field(query.embedding_field)
        _check_output_fields(query.output_fields)
        if self.mode in _WITH_VECTOR and query.query_embedding is None:
            raise InvalidQueryError(f"mode {self.mode.value!r} needs a query_embedding")
        if self.mode in _WITH_TEXT and not _is_text(query.query_str):
            raise InvalidQueryError(
                f"mode {self.mode.value!r} needs a query_str that is not blank, "
                f"not {shorten(query.query_str)}"
            )

    def _embedding(self, sparse: SparseVector | None) -> EmbeddingLike | None:
        vector = self.query.query_embedding
        if self.mode in _HYBRID and sparse is not None:
            return HybridVector(vector, sparse)
        if self.mode is Mode.SPARSE:
            return sparse
        return None if self.mode is Mode.TEXT_SEARCH or self.mode in LEARNERS else vector

    def _rows(self) -> int:
        """How many rows the core is to find."""
        query, settings = self.query, self.settings
        if self.mode in LEARNERS:
            return settings.learner_candidates + 1
        if self.mode is Mode.MMR:
            return _prefetch(query.similarity_top_k, settings)
        found = None
        if self.mode is Mode.SPARSE:
            found = query.sparse_top_k
        elif self.mode in _HYBRID:
            found = query.hybrid_top_k
        return query.similarity_top_k if found is None else found

    def _ranker(self) -> Ranker:
        if self.query.alpha is None or self.mode not in _HYBRID:
            return self.settings.ranker or DEFAULT_RANKER
        return WeightedRanker([self.query.alpha, 1 - self.query.alpha])

    def _leg_top_k(self, text_leg: Leg) -> dict[Leg, int] | None:
        query = self.query
        if self.mode not in _HYBRID:
            return None
        given = {
            Leg.DENSE: None if query.hybrid_top_k is None else query.similarity_top_k,
            text_leg: query.sparse_top_k,
        }
        return {leg: limit for leg, limit in given.items() if limit is not None} or None

    def _diverse(self, matches: Sequence[VectorMatch]) -> list[VectorMatch]:
        query, given = self.query, (self.settings.mmr_threshold, self.query.mmr_threshold)
        threshold = next((each for each in given if each is not None), _MMR_THRESHOLD)
        top_k = query.similarity_top_k if query.similarity_top_k > 0 else max(1, len(matches))
        return diverse(matches, query.query_embedding, top_k=top_k, lambda_mult=threshold)  # type: ignore[arg-type]

    def _learned(self, matches: Sequence[VectorMatch]) -> Ranked:
        most = self.settings.learner_candidates
        if len(matches) > most:
            raise UnsupportedQueryError(
                f"mode {self.mode.value!r} fits a learner to every row that the query selects, and "
                f"there are more than {most}; restrict them by filters, doc_ids or node_ids, or "
                "raise the store's learner_candidates"
            )
        vectors = [dense_part(match.embedding) for match in matches]
        if any(vector is None for vector in vectors):
            raise UnsupportedQueryError(f"mode {self.mode.value!r} compares dense vectors only")
        query = as_vector(self.query.query_embedding, "query_embedding")
        scores = scores_by_learner(self.mode, query, vectors)  # type: ignore[arg-type]
        hits = best_first(
            enumerate(scores), self.query.similarity_top_k, lambda i: str(matches[i].id)
        )
        return [(matches[position], score) for position, score in hits]


def _check_mode(mode: object) -> Mode:
    try:
        return Mode(mode)
    except ValueError as error:
        known = ", ".join(each.value for each in Mode)
        raise InvalidQueryError(f"mode must be one of {known}; not {shorten(mode)}") from error


def _check_share(value: object, name: str) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InvalidQueryError(f"{name} must lie in [0, 1], not {shorten(value)}")


def _check_embedding_field(name: object) -> None:
    if name not in (None, _EMBEDDING_FIELD):
        raise InvalidQueryError(
            f"embedding_field must be {_EMBEDDING_FIELD!r} or None, not {shorten(name)}: a node has "
            "one embedding"
        )


def _check_output_fields(names: object) -> None:
    if names is None:
        return
    if isinstance(names, str) or not all(isinstance(name, str) for name in _items(names)):
        raise InvalidQueryError(
            f"output_fields must be a list of metadata keys or None, not {shorten(names)}"
        )


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_factor(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf:
        return value
    raise InvalidQueryError(f"mmr_prefetch_factor must be a positive number, not {shorten(value)}")


def _prefetch(top_k: int, settings: Settings) -> int:
    """How many rows MMR chooses from; at least those that are asked for."""
    factor, rows = settings.mmr_prefetch_factor, settings.mmr_prefetch_k
    if factor is not None and rows is not None:
        raise InvalidQueryError("mmr_prefetch_factor and mmr_prefetch_k say the same; give one")
    if top_k == -1:
        return -1
    if rows is not None:
        return max(top_k, check_top_k(rows, "mmr_prefetch_k"))
    return max(
        top_k, ceil(top_k * (_MMR_PREFETCH_FACTOR if factor is None else _check_factor(factor)))
    )
