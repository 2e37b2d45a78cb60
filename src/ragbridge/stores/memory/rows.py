"""VectorEntry <-> columns: how the chunks of a table are kept, and built again when they are read."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain, compress
from sys import intern
from typing import Any, Final, Self

import numpy as np

from ragbridge.documents import Chunk, JsonValue
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.memory._arrays import Mask, put_at_end
from ragbridge.stores.memory.columns import Path

DOCUMENT_ID: Final[Path] = ()
"""The path under which `Rows.values` gives document ids: no metadata path is empty."""

_COLUMNS: Final = (
    "id",
    "class",
    "type",
    "chunk_id",
    "document_id",
    "index",
    "start",
    "end",
    "content",
    "metadata_keys",
    "metadata_values",
    "framework_data",
)
_ROWS_AT_ONCE: Final = 2048  # what stays in a processor's cache while it is looked at repeatedly
_CONTAINERS: Final = {list, dict}


class Rows:
    """The columns of a table apart from its vectors: appended to, never changed.

    Metadata are a tuple of keys, which rows with the same keys share, and a tuple of values. Nothing
    that a caller can still change is kept, and nothing that is kept is handed out.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self._deleted: Mask = np.empty(0, np.bool_)
        self._keys: dict[tuple[str, ...], tuple[str, ...]] = {}

    @property
    def ids(self) -> Sequence[str]:
        """The rows' ids."""
        return self._columns["id"]

    @property
    def contents(self) -> Sequence[Any]:
        """The chunks' contents."""
        return self._columns["content"]

    @property
    def deleted(self) -> Mask:
        """Which rows are soft-deleted."""
        return self._deleted

    def append(self, size: int, rows: Mapping[str, VectorEntry]) -> None:
        """Put `rows` by id into the rows from `size` on."""
        ids, entries = list(rows), list(rows.values())
        for done in range(0, len(ids), _ROWS_AT_ONCE):
            part = slice(done, done + _ROWS_AT_ONCE)
            for name, values in self._encode(ids[part], entries[part]).items():
                self._columns[name][size + done :] = values
        deleted = [entry.deleted for entry in entries]
        self._deleted = put_at_end(self._deleted, size, deleted)

    def _encode(self, ids: list[str], entries: list[VectorEntry]) -> dict[str, Sequence[Any]]:
        chunks = [entry.chunk for entry in entries]
        return {
            "id": ids,
            "class": [type(chunk) for chunk in chunks],
            "type": [intern(chunk.type) for chunk in chunks],
            "chunk_id": [chunk.id for chunk in chunks],
            "document_id": [chunk.document_id for chunk in chunks],
            "index": [chunk.index for chunk in chunks],
            "start": [chunk.start for chunk in chunks],
            "end": [chunk.end for chunk in chunks],
            "content": _own_all([chunk.content for chunk in chunks]),
            **self._split([chunk.metadata for chunk in chunks]),
            "framework_data": [_to_json(entry.framework_data) for entry in entries],
        }

    def fields(self, slot: int) -> dict[str, Any]:
        """What makes a row's VectorEntry, apart from its embedding."""
        framework_data = self._columns["framework_data"][slot]
        return {
            "id": self.ids[slot],
            "chunk": self._chunk(slot),
            "framework_data": framework_data and json.loads(framework_data),
            "deleted": bool(self.deleted[slot]),
        }

    def _chunk(self, slot: int) -> Chunk:
        columns = self._columns
        chunk: Chunk = columns["class"][slot](  # which copies the metadata
            id=columns["chunk_id"][slot],
            type=columns["type"][slot],
            content=_own(columns["content"][slot]),
            metadata=self._metadata(slot),
            document_id=columns["document_id"][slot],
            index=columns["index"][slot],
            start=columns["start"][slot],
            end=columns["end"][slot],
        )
        return chunk

    def _metadata(self, slot: int) -> dict[str, JsonValue]:
        columns = self._columns
        pairs = zip(columns["metadata_keys"][slot], columns["metadata_values"][slot], strict=True)
        return dict(pairs)

    def values(self, path: Path, start: int, stop: int) -> Sequence[Any]:
        """What lies under a metadata path in the rows from `start` to before `stop`."""
        if path == DOCUMENT_ID:
            return self._columns["document_id"][start:stop]
        key, *inner = path
        places = {keys: keys.index(key) for keys in list(self._keys) if key in keys}
        rows = zip(
            self._columns["metadata_keys"][start:stop],
            self._columns["metadata_values"][start:stop],
            strict=True,
        )
        found = [values[places[keys]] if keys in places else None for keys, values in rows]
        for part in inner:
            found = [value.get(part) if type(value) is dict else None for value in found]
        return found

    def select(self, keep: Mask) -> Self:
        """The rows that are kept, among the first `len(keep)`."""
        kept = type(self)()
        kept._columns = {
            name: list(compress(values, keep)) for name, values in self._columns.items()
        }
        kept._deleted = self._deleted[: len(keep)][keep]
        kept._keys = {keys: keys for keys in kept._columns["metadata_keys"]}
        return kept

    def _split(self, metadata: Sequence[dict[str, JsonValue]]) -> dict[str, Sequence[Any]]:
        if not _CONTAINERS.isdisjoint(map(type, chain.from_iterable(map(dict.values, metadata)))):
            metadata = _own_all(metadata)
        keys = list(map(tuple, metadata))
        return {
            "metadata_keys": list(map(self._keys.setdefault, keys, keys)),
            "metadata_values": list(map(tuple, map(dict.values, metadata))),
        }


def _own_all(values: Sequence[Any]) -> Sequence[Any]:
    return values if _CONTAINERS.isdisjoint(map(type, values)) else [*map(_own, values)]


def _own(value: Any) -> Any:
    """`value`, with lists and dicts copied all the way down."""
    if type(value) is list:
        return [_own(item) for item in value]
    if type(value) is dict:
        return {key: _own(item) for key, item in value.items()}
    return value


def _to_json(framework_data: dict[str, JsonValue]) -> str | None:
    return json.dumps(framework_data, ensure_ascii=False) if framework_data else None
