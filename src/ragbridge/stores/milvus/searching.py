"""What a query does: searches by one leg or by several, many at once where they agree, and listings."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ragbridge._twins import Work
from ragbridge.stores._ranking import Ranker, RRFRanker, best_first, fuse
from ragbridge.stores._requests import Selection, check_query, leg_limit, score_scale
from ragbridge.stores.base import Leg, SimilarityMetric, VectorMatch, VectorStoreQuery
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.collection import Collection
from ragbridge.stores.milvus.connection import Call, import_pymilvus
from ragbridge.stores.milvus.expressions import NOTHING
from ragbridge.stores.milvus.filters import Expression, compile_selection
from ragbridge.stores.milvus.layout import ID, Layout
from ragbridge.stores.milvus.legs import (
    Hits,
    LegSearch,
    Scope,
    Sought,
    ask,
    is_searchable,
    ordered,
    request,
    sought_by,
)
from ragbridge.stores.milvus.rows import FIELDS, Row, decode

_NAME: Final = "MilvusVectorStore"
_OPTIONS: Final[Mapping[str, object]] = {}
_MOST_RRF_K: Final = 16_384  # servers take less than this

Parts: TypeAlias = tuple[Sought | None, ...]
"""What each leg of a query looks for."""


def query_many(
    collection: Collection, queries: Sequence[VectorStoreQuery], metric: SimilarityMetric
) -> Work[list[list[VectorMatch]]]:
    """The matches of each query; see `VectorStore.query_many`."""
    layout = yield from collection.open()
    capabilities = yield from collection.capabilities()
    for query in queries:
        check_query(
            query,
            store=_NAME,
            capabilities=capabilities,
            metric=metric,
            shape=layout.shape if layout else None,
            options=_OPTIONS,
        )
    answers: list[list[VectorMatch]] = [[] for _ in queries]
    if layout is None:
        return answers
    engine = yield from collection.engine()
    alike: defaultdict[Hashable, list[int]] = defaultdict(list)
    wanted = [_Wanted.of(query, layout, engine) for query in queries]
    for place, each in enumerate(wanted):
        alike[each.key].append(place)
    for places in alike.values():
        search = _Search(collection, layout, engine, wanted[places[0]])
        found = yield from search.run([wanted[place].parts for place in places])
        for place, hits in zip(places, found, strict=True):
            answers[place] = _matches(hits, queries[place].min_score)
    return answers


def _matches(hits: Hits, min_score: float | None) -> list[VectorMatch]:
    return [
        VectorMatch(similarity_score=score, **decode(row))
        for row, score in hits
        if min_score is None or score >= min_score
    ]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a query wants; queries that want the same of different parts are asked together.

    Attributes:
        selection: Which rows.
        expression: The same for the engine.
        top_k: How many.
        fields: What of them.
        legs: The legs to search by.
        limits: How many rows each leg contributes, where there are several.
        ranker: What fuses them.
        parts: What each leg looks for.
        in_engine: The engine can look for all of them.
    """

    selection: Selection
    expression: Expression
    top_k: int
    fields: tuple[str, ...]
    legs: tuple[Leg, ...]
    limits: tuple[int, ...]
    ranker: Ranker
    parts: Parts
    in_engine: bool

    @classmethod
    def of(cls, query: VectorStoreQuery, layout: Layout, engine: Engine) -> "_Wanted":
        selection = Selection.of_query(query)
        parts = tuple(sought_by(leg, query, layout) for leg in query.legs)
        return cls(
            selection=selection,
            expression=compile_selection(selection, engine),
            top_k=query.top_k,
            fields=(*FIELDS, *layout.schema.vectors) if query.include_embeddings else FIELDS,
            legs=query.legs,
            limits=tuple(leg_limit(query, leg) for leg in query.legs),
            ranker=query.ranker,
            parts=parts,
            in_engine=all(map(is_searchable, parts)),
        )

    @property
    def key(self) -> Hashable:
        # Not the filters themselves: where 1 equals True, different ones are equal.
        filters = "" if self.expression.is_exact else repr(self.selection.filters)
        fusion = (self.limits, self.ranker, self.in_engine) if len(self.legs) > 1 else ()
        return self.expression, filters, self.top_k, self.fields, self.legs, fusion

    @property
    def most(self) -> int:
        """How many rows a hybrid search can find; -1 where that is not known."""
        most = -1 if -1 in self.limits else sum(self.limits)
        return most if self.top_k == -1 else self.top_k


class _Search:
    def __init__(
        self, collection: Collection, layout: Layout, engine: Engine, wanted: _Wanted
    ) -> None:
        self._wanted = wanted
        self._scope = Scope(
            collection, layout, engine, wanted.selection, wanted.expression, wanted.fields
        )

    def run(self, parts: Sequence[Parts]) -> Work[list[Hits]]:
        """The hits for the parts of each query, best first."""
        wanted = self._wanted
        if wanted.expression.may == NOTHING:
            return [[] for _ in parts]
        if not wanted.legs:
            listed = yield from self._list()
            return [listed for _ in parts]
        if len(wanted.legs) == 1:
            search = LegSearch(self._scope, wanted.legs[0])
            return (yield from search.run([part for (part,) in parts], wanted.top_k))
        if self._engine_fuses():
            return (yield from self._search_by_several(parts))
        return (yield from self._fuse(parts))

    def _list(self) -> Work[Hits]:
        top_k = self._wanted.top_k
        page_rows = top_k if self._wanted.expression.is_exact and top_k != -1 else None
        selected = self._scope.selected(self._wanted.fields, page_rows)
        rows: list[Row] = []
        while page := (yield from selected.next()):
            rows += page
            if top_k != -1 and len(rows) >= top_k:
                rows = rows[:top_k]
                break
        return [(row, 0.0) for row in rows]

    def _engine_fuses(self) -> bool:
        """Whether the engine's hybrid search is what this one means."""
        wanted, scope = self._wanted, self._scope
        starves = Leg.DENSE in wanted.legs and scope.engine.starves and not scope.layout.is_exact
        window = scope.engine.window
        asked = (*wanted.limits, wanted.most)
        within = all(n != -1 and (window is None or n <= window) for n in asked)
        in_range = not isinstance(wanted.ranker, RRFRanker) or wanted.ranker.k < _MOST_RRF_K
        return (
            wanted.in_engine and wanted.expression.is_exact and within and in_range and not starves
        )

    def _search_by_several(self, parts: Sequence[Parts]) -> Work[list[Hits]]:
        """The engine's hybrid search."""
        limit = self._wanted.most

        def call(parts: Sequence[Parts], fields: Sequence[str]) -> Call:
            return self._scope.collection.hybrid_search(
                self._wanted.expression.may,
                self._requests(parts),
                ranker=_engine_ranker(self._wanted.ranker),
                limit=limit,
                output_fields=[*fields],
            )

        answers = yield from ask(self._scope, parts, limit, call)
        return [ordered(answer, limit) for answer in answers]

    def _requests(self, parts: Sequence[Parts]) -> list[dict[str, Any]]:
        layout = self._scope.layout
        by_leg = zip(self._wanted.legs, self._wanted.limits, zip(*parts, strict=True), strict=True)
        return [
            {**request(leg, sought, limit, layout), "limit": limit} for leg, limit, sought in by_leg
        ]

    def _fuse(self, parts: Sequence[Parts]) -> Work[list[Hits]]:
        """Search by each leg, and fuse what they find."""
        found: list[list[Hits]] = []
        by_leg = zip(self._wanted.legs, self._wanted.limits, zip(*parts, strict=True), strict=True)
        for leg, limit, sought in by_leg:
            found.append((yield from LegSearch(self._scope, leg).run(sought, limit)))
        return [self._fused(legs) for legs in zip(*found, strict=True)]

    def _fused(self, legs: Sequence[Hits]) -> Hits:
        metric = self._scope.layout.metric
        scales = [score_scale(leg, metric) for leg in self._wanted.legs]
        rows = {row[ID]: row for hits in legs for row, _ in hits}
        scored = [[(row[ID], score) for row, score in hits] for hits in legs]
        scores = fuse(self._wanted.ranker, scored, scales)
        best = best_first(scores.items(), self._wanted.top_k, str)
        return [(rows[row_id], score) for row_id, score in best]


def _engine_ranker(ranker: Ranker) -> Any:
    pymilvus = import_pymilvus()
    if isinstance(ranker, RRFRanker):
        return pymilvus.RRFRanker(ranker.k)
    return pymilvus.WeightedRanker(*ranker.weights, norm_score=True)
