"""What a query does: searches by vector, several at once where they agree, and listings."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final, TypeAlias

import numpy as np

from ragbridge._twins import Work
from ragbridge.embeddings import Vector, dense_part
from ragbridge.stores._ranking import best_first
from ragbridge.stores._requests import Selection, check_query
from ragbridge.stores._scoring import exact
from ragbridge.stores.base import Capability, SimilarityMetric, VectorMatch, VectorStoreQuery
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.collection import Collection
from ragbridge.stores.milvus.connection import Call
from ragbridge.stores.milvus.errors import AnswerTooLargeError
from ragbridge.stores.milvus.expressions import NOTHING
from ragbridge.stores.milvus.filters import Expression, compile_selection
from ragbridge.stores.milvus.indexes import METRICS
from ragbridge.stores.milvus.layout import ID, VECTOR, Layout
from ragbridge.stores.milvus.reading import (
    IDS_AT_ONCE,
    SelectedRows,
    count_passing,
    fetch,
    fulfilling,
)
from ragbridge.stores.milvus.rows import FIELDS, Row, decode

CAPABILITIES: Final = frozenset({Capability.DENSE})

_NAME: Final = "MilvusVectorStore"
_OPTIONS: Final[Mapping[str, object]] = {}

_ROWS_IN_AN_ANSWER: Final = 16_384
_WIDER: Final = 8  # how much more is asked where too few of the rows fulfil the filter
_ROWS_SCORED_AT_ONCE: Final = 8_192

Hits: TypeAlias = list[tuple[Row, float]]


def query_many(
    collection: Collection, queries: Sequence[VectorStoreQuery], metric: SimilarityMetric
) -> Work[list[list[VectorMatch]]]:
    """The matches of each query; see `VectorStore.query_many`."""
    layout = yield from collection.open()
    for query in queries:
        check_query(
            query,
            store=_NAME,
            capabilities=CAPABILITIES,
            metric=metric,
            shape=layout.shape if layout else None,
            options=_OPTIONS,
        )
    answers: list[list[VectorMatch]] = [[] for _ in queries]
    if layout is None:
        return answers
    engine = yield from collection.engine()
    alike: defaultdict[Hashable, list[int]] = defaultdict(list)
    wanted = [_Wanted.of(query, engine) for query in queries]
    for place, each in enumerate(wanted):
        alike[each.key].append(place)
    for places in alike.values():
        search = _Search(collection, layout, engine, wanted[places[0]])
        found = yield from search.run([dense_part(queries[place].embedding) for place in places])
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
    """What a query wants apart from its vector: queries that want the same are asked together."""

    selection: Selection
    expression: Expression
    top_k: int
    fields: tuple[str, ...]
    by_vector: bool

    @classmethod
    def of(cls, query: VectorStoreQuery, engine: Engine) -> "_Wanted":
        selection = Selection.of_query(query)
        expression = compile_selection(selection, engine)
        fields = (*FIELDS, VECTOR) if query.include_embeddings else FIELDS
        return cls(selection, expression, query.top_k, fields, bool(query.legs))

    @property
    def key(self) -> Hashable:
        # Not the filters themselves: where 1 equals True, different ones are equal.
        filters = "" if self.expression.is_exact else repr(self.selection.filters)
        return self.expression, filters, self.top_k, self.fields, self.by_vector


class _Search:
    def __init__(
        self, collection: Collection, layout: Layout, engine: Engine, wanted: _Wanted
    ) -> None:
        self._collection = collection
        self._layout = layout
        self._engine = engine
        self._wanted = wanted

    def run(self, vectors: Sequence[Vector | None]) -> Work[list[Hits]]:
        """The hits for each vector, best first; None lists."""
        if self._wanted.expression.may == NOTHING:
            return [[] for _ in vectors]
        if not self._wanted.by_vector:
            listed = yield from self._list()
            return [listed for _ in vectors]
        given = [vector for vector in vectors if vector is not None]
        window = self._engine.window
        if self._wanted.top_k == -1 or (window is not None and self._wanted.top_k > window):
            return (yield from self._score_every_row(given))
        return (yield from self._search(given))

    def _list(self) -> Work[Hits]:
        top_k, is_exact = self._wanted.top_k, self._wanted.expression.is_exact
        page_rows = top_k if is_exact and top_k != -1 else self._page_rows
        selected = self._selected_rows(self._wanted.fields, page_rows)
        rows: list[Row] = []
        while page := (yield from selected.next()):
            rows += page
            if top_k != -1 and len(rows) >= top_k:
                rows = rows[:top_k]
                break
        return [(row, 0.0) for row in rows]

    def _search(self, vectors: Sequence[Vector]) -> Work[list[Hits]]:
        """Ask the engine; where too few of what it found fulfil the filter, ask for more."""
        top_k = limit = self._wanted.top_k
        best: dict[int, Hits] = {}
        open_ones, starved = list(range(len(vectors))), list[int]()
        while open_ones:
            answers = yield from self._ask([vectors[place] for place in open_ones], limit)
            cut_off: list[int] = []
            for place, found in zip(open_ones, answers, strict=True):
                best[place] = self._fulfilling(found)
                if len(best[place]) < top_k:
                    (cut_off if len(found) == limit else starved).append(place)
            limit *= _WIDER
            open_ones = cut_off if limit <= _ROWS_IN_AN_ANSWER else []
            starved += [] if open_ones else cut_off
        yield from self._feed(starved, vectors, best)
        return [_ordered(best[place], top_k) for place in range(len(vectors))]

    def _feed(
        self, starved: Sequence[int], vectors: Sequence[Vector], best: dict[int, Hits]
    ) -> Work[None]:
        """Score every row where the engine gave too few though there are more.

        An index that is not exact may follow its links or lists to too few of the rows that a filter
        leaves.
        """
        if not starved or (self._layout.is_exact and self._wanted.expression.is_exact):
            return
        total = yield from count_passing(
            self._collection, self._wanted.selection, self._wanted.expression
        )
        short = [place for place in starved if len(best[place]) < min(total, self._wanted.top_k)]
        if short:
            found = yield from self._score_every_row([vectors[place] for place in short])
            best.update(zip(short, found, strict=True))

    def _fulfilling(self, hits: Hits) -> Hits:
        if self._wanted.expression.is_exact:
            return hits
        scores = {row[ID]: score for row, score in hits}
        rows = fulfilling(self._wanted.selection, [row for row, _ in hits])
        return [(row, scores[row[ID]]) for row in rows]

    def _ask(self, vectors: Sequence[Vector], limit: int) -> Work[list[Hits]]:
        at_once = max(1, _ROWS_IN_AN_ANSWER // limit)
        answers: list[Hits] = []
        for start in range(0, len(vectors), at_once):
            answers += yield from self._answers(vectors[start : start + at_once], limit)
        return answers

    def _answers(self, vectors: Sequence[Vector], limit: int) -> Work[list[Hits]]:
        try:
            call = self._call(vectors, limit, self._wanted.fields)
            answers = (yield from self._collection.read(call))[0]
        except AnswerTooLargeError:
            if len(vectors) == 1:
                return [(yield from self._answer_in_parts(vectors[0], limit))]
            half = len(vectors) // 2
            first = yield from self._answers(vectors[:half], limit)
            return first + (yield from self._answers(vectors[half:], limit))
        return [self._hits(answer) for answer in answers]

    def _answer_in_parts(self, vector: Vector, limit: int) -> Work[Hits]:
        call = self._call([vector], limit, (ID,))
        hits = self._hits((yield from self._collection.read(call))[0][0])
        rows = yield from fetch(self._collection, [row[ID] for row, _ in hits], self._wanted.fields)
        by_id = {row[ID]: row for row in rows}
        return [(by_id[row[ID]], score) for row, score in hits if row[ID] in by_id]

    def _call(self, vectors: Sequence[Vector], limit: int, fields: Iterable[str]) -> Call:
        index = self._layout.index
        params = {} if index is None else index.search_params(limit)
        return self._collection.search(
            self._wanted.expression.may,
            data=[*vectors],
            limit=limit,
            output_fields=[*fields],
            search_params={"metric_type": METRICS[self._layout.metric], "params": params},
        )

    def _hits(self, answer: Iterable[Mapping[str, Any]]) -> Hits:
        score = _SCORES[self._layout.metric]
        return [({**hit["entity"], ID: hit["id"]}, score(hit["distance"])) for hit in answer]

    def _score_every_row(self, vectors: Sequence[Vector]) -> Work[list[Hits]]:
        """The hits among all rows that are selected, with scores of our own."""
        fields = {*self._wanted.fields, VECTOR}
        selected = self._selected_rows(sorted(fields), self._page_rows)
        rows: list[Row] = []
        matrices = []
        while page := (yield from selected.next()):
            matrices.append(np.array([row[VECTOR] for row in page], dtype=np.float32))
            rows += page
        if VECTOR not in self._wanted.fields:
            rows = [{**row, VECTOR: None} for row in rows]
        found = []
        for vector in vectors:
            scores = [exact(self._layout.metric, part, vector).tolist() for part in matrices]
            hits = zip(rows, (score for part in scores for score in part), strict=True)
            found.append(_ordered(list(hits), self._wanted.top_k))
        return found

    def _selected_rows(self, fields: Sequence[str], page_rows: int) -> SelectedRows:
        return SelectedRows(
            self._collection, self._wanted.selection, fields, page_rows, in_order=True
        )

    @property
    def _page_rows(self) -> int:
        return max(IDS_AT_ONCE, self._engine.page_rows)


def _ordered(hits: Hits, top_k: int) -> Hits:
    """The best first, ties in the order of their ids."""
    numbered = ((place, score) for place, (_, score) in enumerate(hits))
    best = best_first(numbered, top_k, lambda place: str(hits[place][0][ID]))
    return [(hits[place][0], score) for place, score in best]


def _from_cosine(distance: float) -> float:
    return min(1.0, max(-1.0, distance))


def _from_squared_distance(distance: float) -> float:
    return 1.0 / (1.0 + sqrt(max(0.0, distance)))


_SCORES: Final[Mapping[SimilarityMetric, Callable[[float], float]]] = {
    SimilarityMetric.COSINE: _from_cosine,
    SimilarityMetric.EUCLIDEAN: _from_squared_distance,
    SimilarityMetric.DOT_PRODUCT: float,
}
