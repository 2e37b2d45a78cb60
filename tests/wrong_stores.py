"""Small stores with one fault each, of the kind that is easily made."""

from dataclasses import replace
from itertools import islice

import numpy as np

from ragbridge.filters import Condition, MetadataFilter, MetadataFilters
from ragbridge.stores._requests import Selection
from ragbridge.stores.base import SimilarityMetric, VectorEntry, VectorMatch
from ragbridge.testing import ReferenceVectorStore

__all__ = ["WRONG_STORES"]


def with_metadata(entry, metadata):
    return replace(entry, chunk=entry.chunk.model_copy(update={"metadata": metadata}))


class ForgetsUpserts(ReferenceVectorStore):
    def add(self, entries):
        known = set(self._rows)
        return super().add([entry for entry in entries if entry.id not in known])


class MergesUpserts(ReferenceVectorStore):
    def add(self, entries):
        return super().add([self._merged(entry) for entry in entries])

    def _merged(self, entry):
        old = self._rows.get(entry.id)
        data = {**old.chunk.metadata, **entry.chunk.metadata} if old else entry.chunk.metadata
        return with_metadata(entry, data)


class KeepsFrameworkData(ReferenceVectorStore):
    def add(self, entries):
        return super().add(
            [replace(entry, framework_data=self._data_for(entry)) for entry in entries]
        )

    def _data_for(self, entry):
        old = self._rows.get(entry.id)
        return entry.framework_data or (old.framework_data if old else {})


class KeepsTheFirst(ReferenceVectorStore):
    def add(self, entries):
        entries = list(entries)
        first = {entry.id: entry for entry in reversed(entries)}
        super().add(list(first.values()))
        return [entry.id for entry in entries]


class WritesHalfABatch(ReferenceVectorStore):
    def add(self, entries):
        return [
            row_id for entry in entries for row_id in super(WritesHalfABatch, self).add([entry])
        ]


class SharesItsRows(ReferenceVectorStore):
    def get(self, ids, *, include_deleted=False):
        super().get(ids)
        return [self._rows[row_id] for row_id in ids]


class NormalisesVectors(ReferenceVectorStore):
    def add(self, entries):
        return super().add(
            [
                replace(entry, embedding=entry.embedding / np.linalg.norm(entry.embedding))
                for entry in entries
            ]
        )


class TurnsIntegersIntoFloats(ReferenceVectorStore):
    def add(self, entries):
        return super().add(
            [
                with_metadata(
                    entry,
                    {k: float(v) if type(v) is int else v for k, v in entry.chunk.metadata.items()},
                )
                for entry in entries
            ]
        )


class DropsNot(ReferenceVectorStore):
    def _select(self, selection):
        return super()._select(replace(selection, filters=without_not(selection.filters)))


def without_not(filters):
    if not isinstance(filters, MetadataFilters):
        return filters
    condition = Condition.AND if filters.condition is Condition.NOT else filters.condition
    return MetadataFilters([without_not(each) for each in filters.filters], condition)


class NeedsTheKeyForNot(ReferenceVectorStore):
    """Three-valued logic, as databases have it."""

    def _select(self, selection):
        rows = super()._select(selection)
        filters = selection.filters
        if isinstance(filters, MetadataFilter) and filters.operator == "!=":
            return {i: row for i, row in rows.items() if filters.path[0] in row.chunk.metadata}
        return rows


class IgnoresDocumentIds(ReferenceVectorStore):
    def _select(self, selection):
        return super()._select(replace(selection, document_ids=None))


class TakesEmptyForAll(ReferenceVectorStore):
    def _select(self, selection):
        return super()._select(
            replace(
                selection,
                ids=selection.ids or None,
                document_ids=selection.document_ids or None,
            )
        )


class ShowsSoftDeleted(ReferenceVectorStore):
    def _select(self, selection):
        return super()._select(replace(selection, include_deleted=True))


class BuildsExpressions(ReferenceVectorStore):
    """Puts ids into an expression without a thought for quotes."""

    def _select(self, selection):
        rows = super()._select(replace(selection, ids=None))
        if selection.ids is None:
            return rows
        text = " or ".join(f'id == "{row_id}"' for row_id in selection.ids) or "False"
        return {row_id: row for row_id, row in rows.items() if holds(text, row_id)}


def holds(expression, row_id):
    try:
        return eval(expression, {"id": row_id, "true": True})
    except (SyntaxError, ValueError, NameError, TypeError):
        return False


class ReturnsDistances(ReferenceVectorStore):
    def _dense_score(self, one, other):
        return 1 - super()._dense_score(one, other)


class SquaresDistances(ReferenceVectorStore):
    def __init__(self):
        super().__init__(metric=SimilarityMetric.EUCLIDEAN)

    def _dense_score(self, one, other):
        distance = 1 / super()._dense_score(one, other) - 1
        return 1 / (1 + distance**2)


class LeavesTiesAsTheyCome(ReferenceVectorStore):
    def query(self, query):
        matches = super().query(replace(query, top_k=-1))
        order = list(self._rows)
        matches.sort(key=lambda match: (-match.similarity_score, order.index(match.id)))
        return matches if query.top_k == -1 else matches[: query.top_k]


class ExcludesTheMinimum(ReferenceVectorStore):
    def query(self, query):
        least = -np.inf if query.min_score is None else query.min_score
        return [match for match in super().query(query) if match.similarity_score > least]


class FiltersAfterTheCut(ReferenceVectorStore):
    def query(self, query):
        found = super().query(replace(query, filters=None, ids=None, document_ids=None))
        kept = self._select(Selection.of_query(query))
        return [match for match in found if match.id in kept]


class IgnoresOptions(ReferenceVectorStore):
    def query(self, query):
        return super().query(replace(query, options={}))


class AlwaysGivesEmbeddings(ReferenceVectorStore):
    def query(self, query):
        return super().query(replace(query, include_embeddings=True))


class MissesDeletes(ReferenceVectorStore):
    """Answers queries from what was there before the last delete, as a lagging replica does."""

    def delete(self, ids, *, missing_ok=True):
        self._before = dict(self._rows)
        super().delete(ids, missing_ok=missing_ok)

    def query(self, query):
        now, self._rows = self._rows, getattr(self, "_before", self._rows)
        try:
            return super().query(query)
        finally:
            self._rows = now


class PagesByOffset(ReferenceVectorStore):
    def scan(self, *args, batch_size=1000, **options):
        offset = 0
        while rows := list(islice(super().scan(*args, **options), offset, offset + batch_size)):
            yield from rows
            offset += batch_size


class DeletesWithoutLooking(ReferenceVectorStore):
    def delete(self, ids, *, missing_ok=True):
        super().delete(ids)
        super().delete(ids, missing_ok=missing_ok)


class DeletesOnlyWhatShows(ReferenceVectorStore):
    def delete_by_filter(self, filters=None, *, ids=None, document_ids=None):
        shown = [row.id for row in self.scan(filters, ids=ids, document_ids=document_ids)]
        return super().delete_by_filter(filters, ids=shown, document_ids=document_ids)


class ForgetsItsShape(ReferenceVectorStore):
    def clear(self):
        super().clear()
        self._shape = None


class StaysOpen(ReferenceVectorStore):
    def close(self):
        pass


class AddsNothingAsync(ReferenceVectorStore):
    async def aadd(self, entries):
        return [entry.id for entry in entries]


class CountsSoftDeletedAsync(ReferenceVectorStore):
    async def acount(self, *args, include_deleted=False, **options):
        return self.count(*args, include_deleted=True, **options)


class LosesTheClassOfChunks(ReferenceVectorStore):
    def get(self, ids, *, include_deleted=False):
        rows = super().get(ids, include_deleted=include_deleted)
        return [replace(row, chunk=row.chunk.model_copy(update={"type": "chunk"})) for row in rows]


class AnswersWithEntries(ReferenceVectorStore):
    def query(self, query):
        return [
            VectorEntry(id=match.id, chunk=match.chunk)
            for match in super().query(query)
            if isinstance(match, VectorMatch)
        ]


WRONG_STORES = {
    ForgetsUpserts: "test_add_replaces_the_whole_row",
    MergesUpserts: "test_add_replaces_the_whole_row",
    KeepsFrameworkData: "test_add_replaces_the_whole_row",
    KeepsTheFirst: "test_add_keeps_the_last_of_equal_ids",
    WritesHalfABatch: "test_add_refuses_other_vectors",
    SharesItsRows: "test_rows_given_back_are_copies",
    NormalisesVectors: "test_vectors_come_back_bit_by_bit",
    TurnsIntegersIntoFloats: "test_metadata_comes_back",
    LosesTheClassOfChunks: "test_chunks_come_back",
    DropsNot: "test_filter_table",
    NeedsTheKeyForNot: "test_filter_table",
    IgnoresDocumentIds: "test_restrictions_hold_together",
    TakesEmptyForAll: "test_restrictions_hold_together",
    FiltersAfterTheCut: "test_restrictions_hold_together",
    ShowsSoftDeleted: "test_soft_deleted_rows_come_only_when_asked_for",
    BuildsExpressions: "test_nasty_texts_that_are_not_there_select_nothing",
    ReturnsDistances: "test_scores_worked_out_by_hand",
    SquaresDistances: "test_scores_worked_out_by_hand",
    LeavesTiesAsTheyCome: "test_ties_are_ordered_by_id",
    ExcludesTheMinimum: "test_min_score_is_inclusive",
    IgnoresOptions: "test_query_refuses_unknown_options",
    AlwaysGivesEmbeddings: "test_embeddings_come_only_when_asked_for",
    AnswersWithEntries: "test_query_finds_the_best_first",
    MissesDeletes: "test_every_write_is_seen_at_once",
    PagesByOffset: "test_scan_while_deleting",
    DeletesWithoutLooking: "test_delete_can_insist_on_every_id",
    DeletesOnlyWhatShows: "test_delete_by_filter_removes_what_it_counts",
    ForgetsItsShape: "test_clear_empties_and_keeps_the_shape",
    StaysOpen: "test_a_closed_store_refuses_calls",
    AddsNothingAsync: "test_add_returns_ids_in_order",
    CountsSoftDeletedAsync: "test_scan_and_count_select_the_same",
}
"""Each with the test that is meant to notice it."""
