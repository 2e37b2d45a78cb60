"""What `add`, `delete` and `clear` do to a collection."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, starmap
from typing import Final, TypeVar

from ragbridge._twins import Work, pause, together
from ragbridge.errors import PartialWriteError, VectorStoreError
from ragbridge.stores._requests import Selection, WriteBatch, not_found, preparing
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.milvus.collection import Collection
from ragbridge.stores.milvus.config import MilvusConfig
from ragbridge.stores.milvus.expressions import EVERYTHING, NOTHING
from ragbridge.stores.milvus.foreign.opened import Opened
from ragbridge.stores.milvus.foreign.writing import Row, make_rows, size_of
from ragbridge.stores.milvus.layout import ID, Schema
from ragbridge.stores.milvus.packing import Rows
from ragbridge.stores.milvus.reading import SelectedRows, known_ids
from ragbridge.stores.milvus.rows import encode

T = TypeVar("T")

_ADD_AGAIN: Final = "adding the entries again is safe"
_IDS_AT_ONCE: Final = 5_000
_ROWS_OF_GROUP: Final = 250
"""How many rows an event loop is held up with while they are made."""
_ROWS_PACKED_SINGLY: Final = 1_000
"""How many it is held up with by pymilvus, which packs other tools' rows one by one."""


def add(collection: Collection, entries: Sequence[VectorEntry]) -> Work[list[str]]:
    """Upsert `entries`; see `VectorStore.add`."""
    layout = yield from collection.open(to_write=True)
    metric = yield from collection.metric()
    batch = yield from preparing(entries, layout.shape if layout else None, metric)
    if batch is None:
        return []
    if layout is not None and layout.schema.foreign is not None:
        return (yield from _add_to_foreign(collection, layout.schema.foreign, batch))
    schema = layout.schema if layout else (yield from collection.plan(batch.shape))
    groups = yield from _encode(collection, batch, schema)
    if layout is None:
        made = (yield from collection.make(schema)).schema
        if made != schema:  # another store was faster
            metric = yield from collection.metric()
            yield from preparing(list(batch.rows.values()), made.shape, metric)
            groups = yield from _encode(collection, batch, made)
    yield from _send(collection, groups)
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
    if selection.filters is None and selection.ids is None:
        return (yield from _delete_documents(collection, selection))
    selection = collection.tenancy.within(selection)
    selected = SelectedRows(collection, selection, (ID,), _IDS_AT_ONCE)
    deleted = 0
    while rows := (yield from selected.next()):
        yield from _delete(collection, [row[ID] for row in rows])
        deleted += len(rows)
    return deleted


def _delete_documents(collection: Collection, selection: Selection) -> Work[int]:
    """Remove the rows of some documents, without reading first which these are."""
    if selection.is_empty:
        return 0
    expression = yield from collection.compiled(selection)
    if expression.may == NOTHING:
        return 0
    answer = yield from collection.write(collection.delete(expression.may), rows=_IDS_AT_ONCE)
    # Milvus Lite answers with the ids, servers with their number.
    return len(answer) if isinstance(answer, list) else int(answer.get("delete_count", 0))


def clear(collection: Collection) -> Work[None]:
    """Remove every row."""
    if (yield from collection.open()) is None:
        return
    yield from collection.write(collection.delete(EVERYTHING), rows=_IDS_AT_ONCE)
    collection.ledger().met_deleted = False  # where others' rows remain, a search tells


def _nothing() -> Work[set[str]]:
    yield from ()
    return set()


def _encode(collection: Collection, batch: WriteBatch, schema: Schema) -> Work[list[Rows]]:
    """The rows in groups; all are made before any is sent, because one of them may be too large."""
    engine = yield from collection.engine()
    entries, groups = iter(batch.rows.items()), []
    while group := dict(islice(entries, _ROWS_OF_GROUP)):
        groups.append(encode(group, engine, schema, collection.tenancy))
        yield from pause()
    return groups


def _send(collection: Collection, groups: Sequence[Rows]) -> Work[None]:
    """Write the rows in requests, some of which are under way at once where the engine bears that."""
    engine = yield from collection.engine()
    yield from collection.make_partition()
    others = yield from collection.other_partitions()
    ids = [row_id for group in groups for row_id in group.values(ID)]
    sizes = chain.from_iterable(group.sizes() for group in groups)
    written: set[int] = set()

    def write(start: int, stop: int) -> Work[None]:
        part = _part(groups, start, stop)  # made here, so there are no more than requests under way
        yield from collection.write(collection.upsert(part, engine), len(part))
        yield from _delete_from(collection, others, ids[start:stop])
        written.update(range(start, stop))

    requests = starmap(write, _requests(sizes, engine.rows_at_once, collection.connection.config))
    try:
        yield from together(requests, engine.writes_at_once)
    except VectorStoreError as error:
        if not written:
            raise
        raise _partial([*map(collection.tenancy.given, ids)], written, error) from error


def _part(groups: Sequence[Rows], start: int, stop: int) -> Rows:
    """The rows from `start` to `stop`."""
    first = start // _ROWS_OF_GROUP
    before = first * _ROWS_OF_GROUP
    last = (stop - 1) // _ROWS_OF_GROUP
    return Rows.joined(groups[first : last + 1]).part(start - before, stop - before)


def _add_to_foreign(collection: Collection, opened: Opened, batch: WriteBatch) -> Work[list[str]]:
    """Write rows as another tool lays them out; the ids that they got."""
    engine = yield from collection.engine()
    entries = iter(batch.rows.items())
    made: list[tuple[str, Row]] = []
    while group := dict(islice(entries, _ROWS_OF_GROUP)):
        made += make_rows(group, opened, engine)
        yield from pause()
    got = yield from _send_to_foreign(collection, opened, made)
    by_given = dict(zip(batch.rows, got, strict=True))
    return [by_given[each] for each in batch.ids]


def _send_to_foreign(
    collection: Collection, opened: Opened, made: Sequence[tuple[str, Row]]
) -> Work[list[str]]:
    engine = yield from collection.engine()
    others = yield from collection.other_partitions()
    gives_ids = opened.fields.auto_id
    ids, rows = [row_id for row_id, _ in made], [row for _, row in made]
    config = collection.connection.config
    for start, stop in _requests(map(size_of, rows), _ROWS_PACKED_SINGLY, config):
        try:
            call = collection.put(rows[start:stop], "insert" if gives_ids else engine.write)
            answer = yield from collection.write(call, stop - start)
            if gives_ids:
                ids[start:stop] = map(str, answer["ids"])
            else:
                yield from _delete_from(collection, others, ids[start:stop])
        except VectorStoreError as error:
            if not start:
                raise
            remedy = "add only the others again" if gives_ids else _ADD_AGAIN
            raise _partial(ids, range(start), error, remedy) from error
    return ids


def _delete_from(
    collection: Collection, partitions: Sequence[str], ids: Sequence[str]
) -> Work[None]:
    """Remove what was written from the partitions that it lay in before: a server looks in one only."""
    for partition in partitions:
        call = collection.delete(collection.with_ids(ids), partition=partition)
        yield from collection.write(call, len(ids))


def _requests(
    sizes: Iterable[int], rows_at_once: int, config: MilvusConfig
) -> Iterator[tuple[int, int]]:
    """Where the rows of each request begin and end, by their sizes; found as they are asked for.

    Args:
        sizes: Of the rows.
        rows_at_once: How many are in a request, unless the configuration says otherwise.
        config: Says how large a request may be.
    """
    most = config.batch_size or rows_at_once
    start = stop = taken = 0
    for size in sizes:
        is_full = stop - start == most or taken + size > config.batch_bytes
        if is_full and stop > start:
            yield start, stop
            start, taken = stop, 0
        stop, taken = stop + 1, taken + size
    yield start, stop


def _partial(
    ids: Sequence[str], written: set[int] | range, error: VectorStoreError, remedy: str = _ADD_AGAIN
) -> PartialWriteError:
    """The error for rows of which these, by their numbers, are written."""
    return PartialWriteError(
        f"{len(written)} of {len(ids)} rows are written, then: {error}; {remedy}",
        written=[row_id for number, row_id in enumerate(ids) if number in written],
        not_written=[row_id for number, row_id in enumerate(ids) if number not in written],
    )


def _delete(collection: Collection, ids: Sequence[str]) -> Work[None]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        part = ids[start : start + _IDS_AT_ONCE]
        expression = collection.with_ids(part)
        if expression == NOTHING:  # none of them can be an id there
            continue
        try:
            yield from collection.write(collection.delete(expression), len(part))
        except VectorStoreError as error:
            if not start:
                raise
            raise type(error)(f"{start} of {len(ids)} rows were deleted, then: {error}") from error
