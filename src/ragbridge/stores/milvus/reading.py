"""How rows are read: by id, by selection in pages, and counted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ragbridge._twins import Work
from ragbridge.filters import matches
from ragbridge.stores._requests import Selection
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.milvus.collection import Collection
from ragbridge.stores.milvus.connection import Call
from ragbridge.stores.milvus.errors import AnswerTooLargeError
from ragbridge.stores.milvus.expressions import EVERYTHING, NOTHING
from ragbridge.stores.milvus.filters import Expression
from ragbridge.stores.milvus.layout import DELETED, ID, METADATA
from ragbridge.stores.milvus.rows import FIELDS, Row, decode

IDS_AT_ONCE = 1_000

_IDS_IN_A_COUNT = 10_000
_COUNT = "count(*)"


class Pages:
    """The rows that an expression passes, in the order of their ids.

    Args:
        collection: Where they lie.
        expression: Which they are.
        fields: What to read of them.
        size: How many to read at once.
    """

    def __init__(
        self, collection: Collection, expression: str, fields: Sequence[str], size: int
    ) -> None:
        self._collection = collection
        self._expression = expression
        self._fields = [*fields]
        self._size = size
        self._last: str | None = None
        self.ended = expression == NOTHING

    def next(self) -> Work[list[Row]]:
        """The next rows; `ended` says whether these were the last ones."""
        engine = yield from self._collection.engine()
        self._size = min(self._size, engine.window or self._size)
        options = {} if engine.orders_pages else {"iterator": "True"}
        rows = yield from self._read(**options)
        self.ended = len(rows) < self._size
        self._last = rows[-1][ID] if rows else None
        return rows

    def _read(self, **options: str) -> Work[list[Row]]:
        while True:
            try:
                answers = yield from self._collection.read(self._call(**options))
                return list(answers[0])
            except AnswerTooLargeError:
                if self._size == 1:
                    raise
                self._size = (self._size + 1) // 2

    def _call(self, **options: str) -> Call:
        expression = self._collection.after(self._expression, self._last)
        return self._collection.query(
            expression, output_fields=self._fields, limit=self._size, **options
        )


class SelectedRows:
    """The rows of a selection; none comes twice, whatever is written meanwhile.

    Args:
        collection: Where they lie.
        selection: Which they are.
        fields: What to read of them.
        page_rows: How many to read at once.
        in_order: All in the order of their ids. Otherwise long lists of ids are taken apart.
    """

    def __init__(
        self,
        collection: Collection,
        selection: Selection,
        fields: Sequence[str],
        page_rows: int,
        *,
        in_order: bool = False,
    ) -> None:
        self._collection = collection
        self._selection = selection
        self._fields = fields
        self._page_rows = page_rows
        self._parts = iter([selection]) if in_order else _parts(selection, IDS_AT_ONCE)
        self._pages: Pages | None = None
        self._checks = False

    def next(self) -> Work[list[Row]]:
        """The next rows, at least one; none at the end."""
        rows: list[Row] = []
        while not rows:
            if self._pages is None or self._pages.ended:
                part = next(self._parts, None)
                if part is None:
                    return []
                yield from self._begin(part)
            elif self._checks:
                rows = fulfilling(self._selection, (yield from self._pages.next()))
            else:
                rows = yield from self._pages.next()
        return rows

    def _begin(self, part: Selection) -> Work[None]:
        expression = yield from self._collection.compiled(part)
        self._checks = not expression.is_exact
        fields = {*self._fields, METADATA} if self._checks else self._fields
        self._pages = Pages(self._collection, expression.may, sorted(fields), self._page_rows)


class RowReader:
    """The rows of a selection for someone who reads on and on, perhaps of no collection yet.

    Args:
        collection: Where they lie.
        selection: Which they are.
        page_rows: How many to read at once.
        in_large_pages: Or more, where a page costs the engine a pass over all rows.
        with_vectors: Read their vectors too.
    """

    def __init__(
        self,
        collection: Collection,
        selection: Selection,
        page_rows: int,
        *,
        in_large_pages: bool,
        with_vectors: bool,
    ) -> None:
        self._collection = collection
        self._selection = selection
        self._page_rows = page_rows
        self._with_vectors = with_vectors
        self._in_large_pages = in_large_pages
        self._selected: SelectedRows | None = None

    def next(self) -> Work[list[Row]]:
        """The next rows; none at the end."""
        layout = yield from self._collection.open()
        if layout is None:
            return []
        if self._selected is None:
            engine = yield from self._collection.engine()
            least = engine.page_rows if self._in_large_pages else 1
            page_rows = max(least, self._page_rows)
            fields = (*FIELDS, *layout.schema.vectors) if self._with_vectors else FIELDS
            selection = self._collection.tenancy.within(self._selection)
            self._selected = SelectedRows(self._collection, selection, fields, page_rows)
        return (yield from self._selected.next())


def fulfilling(selection: Selection, rows: Sequence[Row]) -> list[Row]:
    """Those of `rows` whose metadata fulfil the filters."""
    return [row for row in rows if matches(selection.filters, row[METADATA])]


def get(
    collection: Collection, ids: Sequence[str], *, include_deleted: bool
) -> Work[list[VectorEntry]]:
    """The rows with these ids, in their order; see `VectorStore.get`."""
    layout = yield from collection.open()
    if not ids or layout is None:
        return []
    stored = collection.tenancy.stored(ids)
    rows = yield from fetch(collection, stored, (*FIELDS, *layout.schema.vectors))
    by_id = {row[ID]: row for row in rows if include_deleted or not row[DELETED]}
    found = [by_id[row_id] for row_id in stored if row_id in by_id]
    return [VectorEntry(**decode(row, collection.tenancy)) for row in found]


def fetch(collection: Collection, ids: Sequence[str], fields: Sequence[str]) -> Work[list[Row]]:
    """The rows with these stored ids, soft-deleted ones included, in any order."""
    rows: list[Row] = []
    selected = SelectedRows(
        collection, Selection(ids=tuple(ids), include_deleted=True), fields, IDS_AT_ONCE
    )
    while page := (yield from selected.next()):
        rows += page
    return rows


def known_ids(collection: Collection, ids: Sequence[str]) -> Work[set[str]]:
    """Those of some stored ids that there are rows with."""
    rows = yield from fetch(collection, ids, (ID,))
    return {row[ID] for row in rows}


def count(collection: Collection, selection: Selection) -> Work[int]:
    """How many rows a selection has."""
    if (yield from collection.open()) is None:
        return 0
    engine = yield from collection.engine()
    if engine.counts_by_reading and selection == Selection() and collection.foreign is None:
        return (yield from _count_others(collection))
    total = 0
    for part in _parts(collection.tenancy.within(selection), _IDS_IN_A_COUNT):
        expression = yield from collection.compiled(part)
        total += yield from count_passing(collection, part, expression)
    return total


def count_passing(
    collection: Collection, selection: Selection, expression: Expression
) -> Work[int]:
    """How many rows a selection has, whose expression this is."""
    total = yield from _count(collection, expression.must)
    pages = Pages(collection, expression.doubtful, (ID, METADATA), IDS_AT_ONCE)
    while not pages.ended:
        total += len(fulfilling(selection, (yield from pages.next())))
    return total


def _count(collection: Collection, expression: str) -> Work[int]:
    if expression == NOTHING:
        return 0
    answers = yield from collection.read(_count_call(collection, expression))
    return _counted(answers[0])


def count_every_row(collection: Collection) -> Work[int]:
    """How many rows there are, soft-deleted ones included."""
    answers = yield from collection.read(_count_call(collection, EVERYTHING))
    return _counted(answers[0])


def _count_others(collection: Collection) -> Work[int]:
    """How many rows are not soft-deleted, without reading them all."""
    answers = yield from collection.read(
        _count_call(collection, f"{DELETED} == true"), _count_call(collection, EVERYTHING)
    )
    deleted, every = map(_counted, answers)
    return every - deleted


def _count_call(collection: Collection, expression: str) -> Call:
    return collection.query("" if expression == EVERYTHING else expression, output_fields=[_COUNT])


def _counted(rows: Sequence[Row]) -> int:
    return int(rows[0][_COUNT])


def _parts(selection: Selection, size: int) -> Iterator[Selection]:
    """The selection, with its ids taken apart."""
    ids = selection.ids
    if ids is None or len(ids) <= size:
        return iter([selection])
    starts = range(0, len(ids), size)
    return (replace(selection, ids=ids[start : start + size]) for start in starts)
