"""What a query does: searches by one leg or by several, many at once where they agree, and listings."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from math import inf
from typing import Any, Final, TypeAlias

import numpy as np

from ragbridge._twins import Work, pause
from ragbridge.embeddings import dense_part
from ragbridge.stores._ranking import Ranker, RRFRanker, WeightedRanker, best_first, fuse
from ragbridge.stores._requests import (
    QUERY_VECTOR,
    Selection,
    check_dense,
    check_query,
    leg_limit,
    score_scale,
)
from ragbridge.stores.base import Leg, SimilarityMetric, VectorMatch, VectorStoreQuery
from ragbridge.stores.milvus.answers import Hits
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.collection import Collection, compile_in, not_deleted_in
from ragbridge.stores.milvus.connection import Call, import_pymilvus
from ragbridge.stores.milvus.entries import matches_of
from ragbridge.stores.milvus.expressions import NOTHING
from ragbridge.stores.milvus.filters import Expression
from ragbridge.stores.milvus.layout import DELETED, ID, Layout
from ragbridge.stores.milvus.ledger import Ledger
from ragbridge.stores.milvus.legs import (
    LegSearch,
    Scope,
    Sought,
    ask,
    best_of_each_document,
    is_searchable,
    ordered,
    request,
    sought_by,
    without_id,
)
from ragbridge.stores.milvus.options import OPTIONS, QueryOptions
from ragbridge.stores.milvus.rows import FIELDS, Row
from ragbridge.stores.milvus.tenancy import Tenancy

_NAME: Final = "MilvusVectorStore"
_RANGES: Final[Mapping[SimilarityMetric, tuple[float, float]]] = {
    SimilarityMetric.COSINE: (-0.99, 1.0),
    SimilarityMetric.EUCLIDEAN: (0.0, 1.0),
    SimilarityMetric.DOT_PRODUCT: (-inf, inf),
}
"""Least scores that leave some rows out and others not; by metric of dense vectors."""
_MOST_RRF_K: Final = 16_384  # servers take less than this

_ROWS_BETWEEN_PAUSES: Final = 250

_UNRESTRICTED: Final = (None, None, None, None)
_DENSE_ALONE: Final = (Leg.DENSE,)
_MOST_PLANS: Final = 100

Parts: TypeAlias = tuple[Sought | None, ...]
"""What each leg of a query looks for."""


def query_many(
    collection: Collection, queries: Sequence[VectorStoreQuery]
) -> Work[list[list[VectorMatch]]]:
    """The matches of each query; see `VectorStore.query_many`."""
    layout = yield from collection.open()
    metric = layout.metric if layout else (yield from collection.metric())
    capabilities = yield from collection.capabilities()
    known = [_known(query, collection, layout) if layout else None for query in queries]
    for query, plan in zip(queries, known, strict=True):
        if plan is not None:
            check_dense(dense_part(query.embedding), metric, QUERY_VECTOR)
            continue
        check_query(
            query,
            store=_NAME,
            capabilities=capabilities,
            metric=metric,
            shape=layout.shape if layout else None,
            options=OPTIONS,
        )
    for query in queries:
        if query.options:
            yield from collection.check_options(QueryOptions.of(query.options), query.legs)
    answers: list[list[VectorMatch]] = [[] for _ in queries]
    if layout is None:
        return answers
    engine = yield from collection.engine()
    parts = [tuple(sought_by(leg, query, layout) for leg in query.legs) for query in queries]
    plans = [
        plan or _plan(collection, layout, engine, query, part)
        for query, part, plan in zip(queries, parts, known, strict=True)
    ]
    for places in _alike(plans):
        sought = [parts[place] for place in places]
        found = yield from plans[places[0]].find(sought, collection.ledger())
        least = [queries[place].min_score for place in places]
        counted = [*map(_counted, _unshared(found), least)]
        matches = yield from _matches(counted, collection.tenancy)
        for place, each in zip(places, matches, strict=True):
            answers[place] = each
    return answers


def _plan(
    collection: Collection, layout: Layout, engine: Engine, query: VectorStoreQuery, parts: Parts
) -> "_Plan":
    """How to search for what a query seeks: as for the last one that differed in nothing else."""
    in_engine = all(map(is_searchable, parts))
    kind = _kind(query)
    plans = {} if kind is None else collection.plans(layout)
    plan: _Plan | None = plans.get((kind, in_engine))
    if plan is None:
        whole = _Wanted.of(query, collection.tenancy, layout, engine, in_engine=in_engine)
        plan = _Plan(whole, partial(_Search, collection, layout, engine, whole))
        if len(plans) < _MOST_PLANS:
            plans[kind, in_engine] = plan
    return plan


def _kind(query: VectorStoreQuery) -> Hashable:
    """The same for queries that differ only in what they seek; None where they are not remembered."""
    restricts = (query.filters, query.ids, query.document_ids, query.leg_top_k)
    if restricts != _UNRESTRICTED or query.options:
        return None
    wanted = (query.legs, query.top_k, query.min_score, query.ranker)
    return *wanted, query.include_embeddings, query.include_deleted


def _known(query: VectorStoreQuery, collection: Collection, layout: Layout) -> "_Plan | None":
    """The plan of a query that differs only in its dense vector from one that was checked."""
    vector, shape = query.embedding, layout.shape
    if query.legs != _DENSE_ALONE or not isinstance(vector, np.ndarray) or shape.binary:
        return None
    if len(vector) != shape.dimension:
        return None
    plan: _Plan | None = collection.plans(layout).get((_kind(query), True))
    return plan


def _alike(plans: Sequence["_Plan"]) -> list[list[int]]:
    """The places of those that search for different parts in the same way, together."""
    if len(plans) == 1:
        return [[0]]
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, each in enumerate(plans):
        places[each.wanted.key].append(place)
    return [*places.values()]


class _Plan:
    """How to search for what some queries want.

    Args:
        wanted: What they want.
        make: Makes the search, with soft-deleted rows or without them.
    """

    def __init__(self, wanted: "_Wanted", make: "Callable[..., _Search]") -> None:
        self.wanted = wanted
        self._search = cache(lambda with_deleted: make(with_deleted=with_deleted))

    def find(self, parts: Sequence[Parts], ledger: Ledger) -> Work[list[Hits]]:
        """The hits for the parts of each query.

        To leave soft-deleted rows out takes an engine as long as any filter, so it is told to only
        where there are some: as long as none is among the best of all rows, these are the best of the
        others.
        """
        with_deleted = self.wanted.selection.include_deleted
        if len(self.wanted.legs) == 1 and not (with_deleted or ledger.met_deleted):
            found = yield from self._search(True).run(parts)
            if not any(row[DELETED] for hits in found for row, _ in hits):
                return found
            ledger.met_deleted = True
        return (yield from self._search(with_deleted).run(parts))


def _unshared(answers: Sequence[Hits]) -> list[Hits]:
    """The answers with rows of their own: rows that are scored here may be in several."""
    seen = [id(row) for hits in answers for row, _ in hits]
    if len({*seen}) == len(seen):
        return [*answers]
    known: set[int] = set()
    return [[(_own(row, known), score) for row, score in hits] for hits in answers]


def _own(row: Row, known: set[int]) -> Row:
    if id(row) in known:
        return deepcopy(row)
    known.add(id(row))
    return row


def _counted(hits: Hits, min_score: float | None) -> Hits:
    return hits if min_score is None else [hit for hit in hits if hit[1] >= min_score]


def _matches(found: Sequence[Hits], tenancy: Tenancy) -> Work[list[list[VectorMatch]]]:
    """The matches of the hits of each query, made together."""
    hits = [*chain.from_iterable(found)]
    made: list[VectorMatch] = []
    for start in range(0, len(hits), _ROWS_BETWEEN_PAUSES):
        if start:
            yield from pause()
        made += matches_of(hits[start : start + _ROWS_BETWEEN_PAUSES], tenancy)
    matches = iter(made)
    return [[*islice(matches, len(each))] for each in found]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a query wants; queries that want the same of different parts are asked together.

    Attributes:
        selection: Which rows.
        expression: The same for the engine, and soft-deleted rows in any case.
        top_k: How many.
        fields: What of them.
        legs: The legs to search by.
        limits: How many rows each leg contributes, where there are several.
        ranker: What fuses them.
        in_engine: The engine can look for what each leg seeks.
        options: Those that only Milvus knows.
        least: The least score that counts, where the engine is to heed it.
    """

    selection: Selection
    expression: Expression
    top_k: int
    fields: tuple[str, ...]
    legs: tuple[Leg, ...]
    limits: tuple[int, ...]
    ranker: Ranker
    in_engine: bool
    options: QueryOptions
    least: float | None

    @classmethod
    def of(
        cls,
        query: VectorStoreQuery,
        tenancy: Tenancy,
        layout: Layout,
        engine: Engine,
        *,
        in_engine: bool,
    ) -> "_Wanted":
        selection = tenancy.within(Selection.of_query(query))
        return cls(
            selection=selection,
            expression=compile_in(layout, _everywhere(selection), engine),
            top_k=query.top_k,
            fields=(*FIELDS, *layout.schema.vectors) if query.include_embeddings else FIELDS,
            legs=query.legs,
            limits=tuple(leg_limit(query, leg) for leg in query.legs),
            ranker=query.ranker,
            in_engine=in_engine,
            options=QueryOptions.of(query.options),
            least=_least(query, layout, engine),
        )

    @property
    def key(self) -> Hashable:
        # Not the filters themselves: where 1 equals True, different ones are equal.
        filters = "" if self.expression.is_exact else repr(self.selection.filters)
        fusion = (self.limits, self.ranker, self.in_engine) if len(self.legs) > 1 else ()
        rows = (self.expression, self.selection.include_deleted, filters)
        wanted = (*rows, self.top_k, self.fields, self.legs, fusion)
        return *wanted, self.options.key, self.least

    @property
    def most(self) -> int:
        """How many rows a hybrid search can find; -1 where that is not known."""
        most = -1 if -1 in self.limits else sum(self.limits)
        return most if self.top_k == -1 else self.top_k


class _Search:
    def __init__(
        self,
        collection: Collection,
        layout: Layout,
        engine: Engine,
        wanted: _Wanted,
        *,
        with_deleted: bool,
    ) -> None:
        self._wanted = wanted
        selection, expression, options = wanted.selection, wanted.expression, wanted.options
        self._scope = Scope(
            collection=collection.narrowed(options),
            layout=layout,
            engine=engine,
            selection=_everywhere(selection) if with_deleted else selection,
            expression=expression if with_deleted else not_deleted_in(layout, expression),
            fields=wanted.fields,
            search_params=dict.fromkeys(wanted.legs[:1], options.search_params),
            groups=options.group_by is not None and len(wanted.legs) == 1,
            least=wanted.least,
        )
        self._legs = [LegSearch(self._scope, leg) for leg in wanted.legs]

    def run(self, parts: Sequence[Parts]) -> Work[list[Hits]]:
        """The hits for the parts of each query, best first."""
        wanted = self._wanted
        if wanted.expression.may == NOTHING or wanted.options.partitions == ():
            return [[] for _ in parts]
        if not wanted.legs:
            listed = yield from self._list()
            return [listed for _ in parts]
        if len(wanted.legs) == 1:
            return (yield from self._legs[0].run([part for (part,) in parts], wanted.top_k))
        if self._engine_fuses():
            return (yield from self._search_by_several(parts))
        return (yield from self._fuse(parts))

    def _list(self) -> Work[Hits]:
        top_k, groups = self._wanted.top_k, self._wanted.options.group_by is not None
        is_first_page = self._wanted.expression.is_exact and top_k != -1 and not groups
        selected = self._scope.selected(self._wanted.fields, top_k if is_first_page else None)
        hits: Hits = []
        while page := (yield from selected.next()):
            hits += [(row, 0.0) for row in page]
            hits = best_of_each_document(hits) if groups else hits
            if top_k != -1 and len(hits) >= top_k:
                return hits[:top_k]
        return hits

    def _engine_fuses(self) -> bool:
        """Whether the engine's hybrid search is what this one means."""
        wanted, scope = self._wanted, self._scope
        starves = Leg.DENSE in wanted.legs and scope.engine.starves and not scope.layout.is_exact
        window = scope.engine.window
        asked = (*wanted.limits, wanted.most)
        within = all(n != -1 and (window is None or n <= window) for n in asked)
        in_range = not isinstance(wanted.ranker, RRFRanker) or wanted.ranker.k < _MOST_RRF_K
        is_weighted = isinstance(wanted.ranker, WeightedRanker)
        if is_weighted and scope.layout.metric.is_binary and Leg.DENSE in wanted.legs:
            return False  # its normalization tells only the nearest rows apart
        is_plain = wanted.in_engine and wanted.expression.is_exact and not wanted.options.group_by
        return is_plain and within and in_range and not starves

    def _search_by_several(self, parts: Sequence[Parts]) -> Work[list[Hits]]:
        """The engine's hybrid search."""
        limit = self._wanted.most

        def call(parts: Sequence[Parts], fields: Sequence[str]) -> Call:
            return self._scope.collection.hybrid_search(
                self._scope.expression.may,
                self._requests(parts),
                ranker=_engine_ranker(self._wanted.ranker),
                limit=limit,
                output_fields=without_id(fields),
            )

        answers = yield from ask(self._scope, parts, limit, call)
        return [ordered(answer, limit) for answer in answers]

    def _requests(self, parts: Sequence[Parts]) -> list[dict[str, Any]]:
        by_leg = zip(self._wanted.legs, self._wanted.limits, zip(*parts, strict=True), strict=True)
        return [
            {**request(leg, sought, limit, self._scope), "limit": limit}
            for leg, limit, sought in by_leg
        ]

    def _fuse(self, parts: Sequence[Parts]) -> Work[list[Hits]]:
        """Search by each leg, and fuse what they find."""
        found: list[list[Hits]] = []
        by_leg = zip(self._legs, self._wanted.limits, zip(*parts, strict=True), strict=True)
        for leg, limit, sought in by_leg:
            found.append((yield from leg.run(sought, limit)))
        return [self._fused(legs) for legs in zip(*found, strict=True)]

    def _fused(self, legs: Sequence[Hits]) -> Hits:
        metric = self._scope.layout.metric
        scales = [score_scale(leg, metric) for leg in self._wanted.legs]
        rows = {row[ID]: row for hits in legs for row, _ in hits}
        scored = [[(row[ID], score) for row, score in hits] for hits in legs]
        scores = fuse(self._wanted.ranker, scored, scales)
        top_k, groups = self._wanted.top_k, self._wanted.options.group_by is not None
        best = best_first(scores.items(), -1 if groups else top_k, str)
        hits = [(rows[row_id], score) for row_id, score in best]
        return ordered(best_of_each_document(hits), top_k) if groups else hits


def _everywhere(selection: Selection) -> Selection:
    """The same with soft-deleted rows."""
    return Selection(selection.filters, selection.ids, selection.document_ids, include_deleted=True)


def _least(query: VectorStoreQuery, layout: Layout, engine: Engine) -> float | None:
    """The least score that counts, where the engine does well to heed it.

    An index that is not exact would find other rows then.
    """
    least = query.min_score
    if least is None or query.legs != _DENSE_ALONE or not (layout.is_exact and engine.narrows):
        return None
    low, high = _RANGES.get(layout.metric, (inf, inf))
    return least if low < least <= high else None


def _engine_ranker(ranker: Ranker) -> Any:
    pymilvus = import_pymilvus()
    if isinstance(ranker, RRFRanker):
        return pymilvus.RRFRanker(ranker.k)
    return pymilvus.WeightedRanker(*ranker.weights, norm_score=True)
