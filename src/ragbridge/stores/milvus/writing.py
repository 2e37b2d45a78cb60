"""What `add`, `delete` and `clear` do to a collection."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from ragbridge._twins import Work, pause
from ragbridge.errors import PartialWriteError, VectorStoreError
from ragbridge.stores._requests import Selection, WriteBatch, not_found, prepare_batch
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.milvus.collection import Collection
from ragbridge.stores.milvus.expressions import EVERYTHING, one_of
from ragbridge.stores.milvus.layout import ID, Schema
from ragbridge.stores.milvus.reading import SelectedRows, known_ids
from ragbridge.stores.milvus.rows import Row, encode, size_of

T = TypeVar("T")

_IDS_AT_ONCE = 5_000
_ROWS_BETWEEN_PAUSES = 200


def add(collection: Collection, entries: Sequence[VectorEntry], most_rows: int) -> Work[list[str]]:
    """Upsert `entries`, so many at a time at the most; see `VectorStore.add`."""
    layout = yield from collection.open(to_write=True)
    metric = yield from collection.metric()
    batch = prepare_batch(entries, layout.shape if layout else None, metric)
    if batch is None:
        return []
    schema = layout.schema if layout else (yield from collection.plan(batch.shape))
    rows = yield from _encode(collection, batch, schema)
    if layout is None:
        made = (yield from collection.make(schema)).schema
        if made != schema:  # another store was faster
            metric = yield from collection.metric()
            prepare_batch(list(batch.rows.values()), made.shape, metric)
            rows = yield from _encode(collection, batch, made)
    yield from _send(collection, rows, most_rows)
    return batch.ids


def delete(collection: Collection, ids: Sequence[str], *, missing_ok: bool) -> Work[None]:
    """Remove rows; see `VectorStore.delete`."""
    layout = yield from collection.open()
    stored = collection.tenancy.stored(ids)
    if not missing_ok and ids:
        known = yield from known_ids(collection, stored) if layout else _nothing()
        missing = set(stored) - known
        if missing:
            raise not_found(map(collection.tenancy.given, missing))
    if layout is not None:
        yield from _delete(collection, stored)


def delete_selected(collection: Collection, selection: Selection) -> Work[int]:
    """Remove the rows of a selection; how many there were."""
    if (yield from collection.open()) is None:
        return 0
    selection = collection.tenancy.within(selection)
    selected = SelectedRows(collection, selection, (ID,), _IDS_AT_ONCE)
    deleted = 0
    while rows := (yield from selected.next()):
        yield from _delete(collection, [row[ID] for row in rows])
        deleted += len(rows)
    return deleted


def clear(collection: Collection) -> Work[None]:
    """Remove every row."""
    if (yield from collection.open()) is None:
        return
    yield from collection.write(collection.delete(EVERYTHING), rows=_IDS_AT_ONCE)


def _nothing() -> Work[set[str]]:
    yield from ()
    return set()


def _encode(collection: Collection, batch: WriteBatch, schema: Schema) -> Work[list[Row]]:
    """The rows; all of them are made before any is sent, because one of them may be too large."""
    engine = yield from collection.engine()
    rows = []
    for row_id, entry in batch.rows.items():
        rows.append(encode(row_id, entry, engine, schema) | collection.tenancy.columns(row_id))
        if len(rows) % _ROWS_BETWEEN_PAUSES == 0:
            yield from pause()
    return rows


def _send(collection: Collection, rows: Sequence[Row], most_rows: int) -> Work[None]:
    engine = yield from collection.engine()
    yield from collection.make_partition()
    others = yield from collection.other_partitions()
    ids = [collection.tenancy.given(row[ID]) for row in rows]
    most_bytes = collection.connection.config.batch_bytes
    written = 0
    for part in _parts(rows, most_rows, most_bytes):
        try:
            yield from collection.write(collection.upsert(part, engine), len(part))
            yield from _delete_from(collection, others, [row[ID] for row in part])
        except VectorStoreError as error:
            if not written:
                raise
            raise _partial(ids, written, error) from error
        written += len(part)


def _delete_from(
    collection: Collection, partitions: Sequence[str], ids: Sequence[str]
) -> Work[None]:
    """Remove what was written from the partitions that it lay in before: a server looks in one only."""
    for partition in partitions:
        call = collection.delete(one_of(ID, ids), partition=partition)
        yield from collection.write(call, len(ids))


def _parts(rows: Sequence[Row], most_rows: int, most_bytes: int) -> Iterator[list[Row]]:
    part: list[Row] = []
    size = 0
    for row in rows:
        row_size = size_of(row)
        if part and (len(part) == most_rows or size + row_size > most_bytes):
            yield part
            part, size = [], 0
        part.append(row)
        size += row_size
    yield part


def _partial(ids: Sequence[str], written: int, error: VectorStoreError) -> PartialWriteError:
    return PartialWriteError(
        f"{written} of {len(ids)} rows are written, then: {error}; adding the entries again is safe",
        written=ids[:written],
        not_written=ids[written:],
    )


def _delete(collection: Collection, ids: Sequence[str]) -> Work[None]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        part = ids[start : start + _IDS_AT_ONCE]
        try:
            yield from collection.write(collection.delete(one_of(ID, part)), len(part))
        except VectorStoreError as error:
            if not start:
                raise
            raise type(error)(f"{start} of {len(ids)} rows were deleted, then: {error}") from error
