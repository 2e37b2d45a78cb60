"""Searching by one leg of a query: asking the engine, and what the engine does not give."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import sqrt
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from ragbridge._twins import Work
from ragbridge.embeddings import (
    BinaryVector,
    SparseVector,
    Vector,
    compared_part,
    sparse_part,
)
from ragbridge.stores._ranking import best_first
from ragbridge.stores._requests import Selection
from ragbridge.stores._scoring import exact, exact_of_bits
from ragbridge.stores.base import Leg, SimilarityMetric, VectorStoreQuery
from ragbridge.stores.milvus.answers import Hits, hits_of
from ragbridge.stores.milvus.asking import DenseVectors
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.collection import Collection
from ragbridge.stores.milvus.connection import Call
from ragbridge.stores.milvus.errors import AnswerTooLargeError
from ragbridge.stores.milvus.filters import Expression
from ragbridge.stores.milvus.indexes import METRICS
from ragbridge.stores.milvus.layout import DOCUMENT_ID, ID, LEG_FIELDS, Layout
from ragbridge.stores.milvus.reading import (
    IDS_AT_ONCE,
    Pages,
    SelectedRows,
    count_every_row,
    count_passing,
    fetch,
    fulfilling,
)
from ragbridge.stores.milvus.rows import Row, packed_bits

Sought: TypeAlias = Vector | BinaryVector | SparseVector | str
"""What a leg looks for."""

T = TypeVar("T")

ROWS_IN_AN_ANSWER: Final = 16_384

_MOST_CALLS: Final = 8  # that a leg's search keeps: those about a range of ids come once

_WIDER: Final = 8  # how much more is asked where too few of the rows count
_ROWS_OF_A_DOCUMENT: Final = 4  # how many are expected among the best
_MARGIN: Final = 1e-5  # more than the engine's scores may differ from those asked for


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows a search is about, and what it reads of them.

    Attributes:
        collection: Where they lie.
        layout: What it looks like.
        engine: What it runs on.
        selection: Which rows.
        expression: The same for the engine.
        fields: What to read of them.
        search_params: Search parameters of a leg's index.
        groups: Only the best row of each document counts.
        least: The least score of a dense leg that counts, where the engine is to heed it.
    """

    collection: Collection
    layout: Layout
    engine: Engine
    selection: Selection
    expression: Expression
    fields: tuple[str, ...]
    search_params: Mapping[Leg, Mapping[str, Any]] = field(default_factory=dict)
    groups: bool = False
    least: float | None = None

    def fulfilling(self, hits: Hits) -> Hits:
        """Those of the engine's hits that are selected."""
        if self.expression.is_exact:
            return hits
        scores = {row[ID]: score for row, score in hits}
        rows = fulfilling(self.selection, [row for row, _ in hits])
        return [(row, scores[row[ID]]) for row in rows]

    def grouped(self, hits: Hits) -> Hits:
        """Those of them that count."""
        return best_of_each_document(hits) if self.groups else hits

    def selected(self, fields: Iterable[str], page_rows: int | None = None) -> SelectedRows:
        """All rows that are selected, in the order of their ids."""
        size = max(IDS_AT_ONCE, self.engine.page_rows) if page_rows is None else page_rows
        return SelectedRows(self.collection, self.selection, sorted(fields), size, in_order=True)


def sought_by(leg: Leg, query: VectorStoreQuery, layout: Layout) -> Sought | None:
    """What a leg of a query looks for; None where it can find nothing."""
    if leg is Leg.DENSE:
        return compared_part(query.embedding)
    if leg is Leg.SPARSE:
        return _weights(sparse_part(query.embedding))
    options, text = layout.schema.full_text, query.text or ""
    return text if options is not None and options.tokenize(text) else None


def is_searchable(sought: Sought | None) -> bool:
    """Whether the engine can look for it: no engine takes negative weights."""
    if isinstance(sought, SparseVector):
        return bool(sought.values.min() > 0)
    return sought is not None


def request(leg: Leg, sought: Sequence[Any], limit: int, scope: Scope) -> dict[str, Any]:
    """What the engine is told about a leg: `data`, `anns_field` and `param`."""
    param = _param(leg, limit, scope)
    return {"data": _data(leg, sought, scope.layout), "anns_field": LEG_FIELDS[leg], "param": param}


def _param(leg: Leg, limit: int, scope: Scope) -> dict[str, Any]:
    """How the engine is to search by a leg."""
    layout = scope.layout
    index = layout.index_of(leg)
    params = (
        {} if index is None else index.search_params(limit, scope.search_params.get(leg) or None)
    )
    if leg is Leg.DENSE and scope.least is not None:
        params |= _radius(layout.metric, scope.least)
    metrics = {Leg.DENSE: METRICS[layout.metric], Leg.SPARSE: "IP", Leg.FULL_TEXT: "BM25"}
    return {"metric_type": metrics[leg], "params": params}


def _data(leg: Leg, sought: Sequence[Any], layout: Layout) -> list[Any]:
    """What is sought by a leg, as pymilvus takes it."""
    if leg is Leg.SPARSE:
        return [vector.to_dict() for vector in sought]
    if leg is Leg.FULL_TEXT:
        return [layout.schema.searched(text) for text in sought]
    if layout.shape.binary:
        return [vector.packed.tobytes() for vector in sought]
    # What other tools' rows are made of is read off pymilvus's own answers.
    return DenseVectors(sought) if layout.schema.foreign is None else [*sought]


class LegSearch:
    """Searches by one leg.

    Args:
        scope: Which rows.
        leg: The leg.
    """

    def __init__(self, scope: Scope, leg: Leg) -> None:
        self._scope = scope
        self._leg = leg
        self._field = LEG_FIELDS[leg]
        self._score = self._find_score()
        self._call_without_data = lru_cache(_MOST_CALLS)(self._make_call)

    def run(self, sought: Sequence[Sought | None], top_k: int) -> Work[list[Hits]]:
        """The `top_k` best hits (-1: all) for each thing that is sought, best first."""
        if self._leg is Leg.DENSE and not self._is_past(top_k):
            hits = yield from self._search(sought, top_k)
            return [ordered(self._scope.grouped(each), top_k) for each in hits]
        found: list[Hits] = [[] for _ in sought]
        for search, places in self._ways(sought, top_k):
            hits = yield from search([sought[place] for place in places], top_k)
            for place, each in zip(places, hits, strict=True):
                found[place] = ordered(self._scope.grouped(each), top_k)
        return found

    def _ways(
        self, sought: Sequence[Sought | None], top_k: int
    ) -> Iterator[tuple[Callable[[Sequence[Any], int], Work[list[Hits]]], list[int]]]:
        """How to search, and the places of what is sought that way."""
        asked = [place for place, each in enumerate(sought) if is_searchable(each)]
        scored = [p for p, each in enumerate(sought) if each is not None and p not in asked]
        is_past = self._is_past(top_k)
        if scored:
            yield self._score_every_row, scored
        if asked and not is_past:
            yield self._search, asked
        elif asked and self._leg is Leg.DENSE and self._scope.least is None:
            yield self._score_every_row, asked
        elif asked:
            yield self._every_match, asked

    def _is_past(self, top_k: int) -> bool:
        """Whether these are more rows than the engine gives to one search."""
        window = self._scope.engine.window
        return top_k == -1 or (window is not None and top_k > window)

    def _search(self, sought: Sequence[Any], top_k: int) -> Work[list[Hits]]:
        """Ask the engine; where too few of what it found count, ask for more."""
        limit = top_k
        if self._scope.groups:
            limit = max(top_k, min(_ROWS_OF_A_DOCUMENT * top_k, ROWS_IN_AN_ANSWER))
        best: dict[int, Hits] = {}
        open_ones = list(range(len(sought)))
        starved: list[int] = []
        cut_off: list[int] = []
        while open_ones:
            answers = yield from self._ask([sought[place] for place in open_ones], limit)
            cut_off = []
            for place, found in zip(open_ones, answers, strict=True):
                best[place] = self._scope.fulfilling(found)
                if len(self._scope.grouped(best[place])) < top_k:
                    (cut_off if len(found) == limit else starved).append(place)
            limit *= _WIDER
            open_ones = cut_off if limit <= ROWS_IN_AN_ANSWER else []
        if self._leg is Leg.DENSE:
            # An exact index that gives less than it may has given everything.
            short = cut_off if self._scope.layout.is_exact else [*starved, *cut_off]
            yield from self._feed(short, sought, best)
        elif cut_off:
            found_all = yield from self._every_match([sought[place] for place in cut_off], top_k)
            best.update(zip(cut_off, found_all, strict=True))
        return [best[place] for place in range(len(sought))]

    def _feed(
        self, starved: Sequence[int], vectors: Sequence[Vector], best: dict[int, Hits]
    ) -> Work[None]:
        """Score every row where the engine gave too few though there are more.

        An index that is not exact may follow its links or lists to too few of the rows that a filter
        leaves.
        """
        if not starved:
            return
        scope = self._scope
        total = yield from count_passing(scope.collection, scope.selection, scope.expression)
        short = [place for place in starved if len(best[place]) < total]
        if short:
            found = yield from self._score_every_row([vectors[place] for place in short], -1)
            best.update(zip(short, found, strict=True))

    def _every_match(self, sought: Sequence[Any], _top_k: int) -> Work[list[Hits]]:
        """Every row that the engine finds something to score in, scored by it."""
        limit = self._scope.engine.window
        if limit is None:
            limit = max(1, (yield from count_every_row(self._scope.collection)))
            return [*map(self._scope.fulfilling, (yield from self._ask(sought, limit)))]
        found = yield from self._ask(sought, limit)
        cut_off = [place for place, hits in enumerate(found) if len(hits) == limit]
        if cut_off:
            in_parts = yield from self._ask_by_parts([sought[place] for place in cut_off], limit)
            for place, hits in zip(cut_off, in_parts, strict=True):
                found[place] = hits
        return [*map(self._scope.fulfilling, found)]

    def _ask_by_parts(self, sought: Sequence[Any], window: int) -> Work[list[Hits]]:
        """Ask about a range of ids at a time, in which there are too few rows to be cut off.

        Scores do not depend on the filter, so those of all parts compare.
        """
        scope = self._scope
        found: list[Hits] = [[] for _ in sought]
        pages = Pages(scope.collection, scope.expression.may, (ID,), max(1, window // 2))
        last: str | None = None
        while not pages.ended and (rows := (yield from pages.next())):
            following = scope.collection.after(scope.expression.may, last)
            part = scope.collection.up_to(following, rows[-1][ID])
            last = rows[-1][ID]
            for hits, more in zip(found, (yield from self._ask(sought, window, part)), strict=True):
                hits += more
        return found

    def _ask(
        self, sought: Sequence[Any], limit: int, expression: str | None = None
    ) -> Work[list[Hits]]:
        may = self._scope.expression.may if expression is None else expression

        def call(sought: Sequence[Any], fields: Sequence[str]) -> Call:
            made = self._call_without_data(may, limit, tuple(fields))
            data = _data(self._leg, sought, self._scope.layout)
            return Call(made.method, {**made.arguments, "data": data})

        answers = yield from ask(self._scope, sought, limit, call)
        score = self._score
        return [[(row, score(distance)) for row, distance in answer] for answer in answers]

    def _make_call(self, expression: str, limit: int, fields: Sequence[str]) -> Call:
        return self._scope.collection.search(
            expression,
            anns_field=self._field,
            search_params=_param(self._leg, limit, self._scope),
            limit=limit,
            output_fields=without_id(fields),
        )

    def _find_score(self) -> Callable[[float], float]:
        """What makes a similarity score of the engine's."""
        layout = self._scope.layout
        if self._leg is Leg.DENSE:
            dimension = layout.shape.dimension
            if dimension and layout.metric is SimilarityMetric.HAMMING:
                return partial(_from_differing_bits, dimension)
            return _SCORES[layout.metric]
        negative = self._leg is Leg.FULL_TEXT and self._scope.engine.negates_bm25
        return operator.neg if negative else float

    def _score_every_row(self, sought: Sequence[Any], _top_k: int) -> Work[list[Hits]]:
        """Every row that is selected, with scores of our own."""
        selected = self._scope.selected({*self._scope.fields, self._field})
        found: list[Hits] = [[] for _ in sought]
        while page := (yield from selected.next()):
            vectors = [row[self._field] for row in page]
            for hits, scores in zip(found, self._compare(vectors, sought), strict=True):
                hits += [
                    (row, score)
                    for row, score in zip(page, scores, strict=True)
                    if self._leg is Leg.DENSE or score > 0
                ]
            if self._field not in self._scope.fields:
                for row in page:
                    del row[self._field]
        return found

    def _compare(self, vectors: Sequence[Any], sought: Sequence[Any]) -> Iterator[list[float]]:
        """The scores of some rows' vectors for each vector sought."""
        metric = self._scope.layout.metric
        if self._leg is Leg.DENSE and self._scope.layout.shape.binary:
            packed = np.frombuffer(b"".join(map(packed_bits, vectors)), np.uint8)
            bits = packed.reshape(len(vectors), -1)
            return (exact_of_bits(metric, bits, each).tolist() for each in sought)
        if self._leg is Leg.DENSE:
            matrix = np.array(vectors, dtype=np.float32)
            return (exact(metric, matrix, each).tolist() for each in sought)
        weights = (each.to_dict() for each in sought)
        return ([_inner(vector, wanted) for vector in vectors] for wanted in weights)


def ask(
    scope: Scope,
    sought: Sequence[T],
    limit: int,
    call: Callable[[Sequence[T], Sequence[str]], Call],
) -> Work[list[Hits]]:
    """The rows and the engine's scores for each thing that is sought, in the engine's order.

    Args:
        scope: Which rows.
        sought: What is sought.
        limit: How many rows each answer has at the most.
        call: Makes the call for some of it, and the fields to read.
    """
    at_once = max(1, ROWS_IN_AN_ANSWER // limit)
    answers: list[Hits] = []
    for start in range(0, len(sought), at_once):
        answers += yield from _answers(scope, sought[start : start + at_once], call)
    return answers


def _answers(
    scope: Scope, sought: Sequence[T], call: Callable[[Sequence[T], Sequence[str]], Call]
) -> Work[list[Hits]]:
    try:
        answers = (yield from scope.collection.read(call(sought, scope.fields)))[0]
    except AnswerTooLargeError:
        if len(sought) == 1:
            return [(yield from _answer_in_parts(scope, call(sought, (ID,))))]
        half = len(sought) // 2
        first = yield from _answers(scope, sought[:half], call)
        return first + (yield from _answers(scope, sought[half:], call))
    return [*map(hits_of, answers)]


def _answer_in_parts(scope: Scope, call: Call) -> Work[Hits]:
    hits = hits_of((yield from scope.collection.read(call))[0][0])
    rows = yield from fetch(scope.collection, [row[ID] for row, _ in hits], scope.fields)
    by_id = {row[ID]: row for row in rows}
    return [(by_id[row[ID]], score) for row, score in hits if row[ID] in by_id]


def without_id(fields: Sequence[str]) -> list[str]:
    """What to ask a search for: it gives the ids in any case. To ask for nothing is to ask for all."""
    return [name for name in fields if name != ID] or [ID]


def ordered(hits: Hits, top_k: int) -> Hits:
    """The best first, ties in the order of their ids."""
    scores = [score for _, score in hits]
    if all(map(operator.gt, scores, scores[1:])):  # as engines give them
        return hits if top_k == -1 else hits[:top_k]
    numbered = ((place, score) for place, (_, score) in enumerate(hits))
    best = best_first(numbered, top_k, lambda place: str(hits[place][0][ID]))
    return [(hits[place][0], score) for place, score in best]


def best_of_each_document(hits: Hits) -> Hits:
    """The best row of each document, and every row that is of none; best first."""
    found: dict[str, tuple[Row, float]] = {}
    for row, score in ordered(hits, -1):
        found.setdefault(row[DOCUMENT_ID] or f"/{row[ID]}", (row, score))
    return list(found.values())


def _weights(vector: SparseVector | None) -> SparseVector | None:
    """Without the zeros, which engines refuse; None where nothing is left."""
    if vector is None or not vector.values.any():
        return None
    kept = vector.values != 0
    return vector if kept.all() else SparseVector(vector.indices[kept], vector.values[kept])


def _inner(vector: Mapping[int, float], weights: Mapping[int, float]) -> float:
    return sum(weight * vector.get(index, 0.0) for index, weight in weights.items())


def _radius(metric: SimilarityMetric, least: float) -> dict[str, float]:
    """What leaves out the rows whose score is less, but for a few that are next to it."""
    single = np.finfo(np.float32)
    radius = least - _MARGIN * max(1.0, abs(least))
    if metric is SimilarityMetric.EUCLIDEAN:
        distance = min(1.0 / least - 1.0, float(single.max) ** 0.5)
        radius = distance**2 * (1.0 + _MARGIN) + float(single.tiny)
    return {"radius": min(max(radius, float(single.min)), float(single.max))}


def _from_cosine(distance: float) -> float:
    return distance if -1.0 <= distance <= 1.0 else min(1.0, max(-1.0, distance))


def _from_squared_distance(distance: float) -> float:
    return 1.0 / (1.0 + sqrt(max(0.0, distance)))


def _from_differing_bits(dimension: int, distance: float) -> float:
    return 1.0 - distance / dimension


def _from_jaccard_distance(distance: float) -> float:
    return 1.0 - distance


_SCORES: Final[Mapping[SimilarityMetric, Callable[[float], float]]] = {
    SimilarityMetric.COSINE: _from_cosine,
    SimilarityMetric.EUCLIDEAN: _from_squared_distance,
    SimilarityMetric.DOT_PRODUCT: float,
    SimilarityMetric.JACCARD: _from_jaccard_distance,
}
