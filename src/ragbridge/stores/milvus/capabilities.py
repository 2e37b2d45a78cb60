"""What the engines can do: the one place that knows their differences.

Measured on Milvus Lite 3.2 and on server 2.3.5; from Milvus's documentation for later servers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ragbridge.stores.base import Capability
from ragbridge.stores.milvus.indexes import AutoIndex, BinFlat, Flat, ServerVersion, VectorIndex

_NEWEST: Final = (3, 0)  # what an engine that does not say its version is taken for
_WINDOW: Final = 16_384
_WRITES_AT_ONCE: Final = 2
"""One is packed while the other is waited for."""
_SINCE: Final = {
    Capability.DENSE: (2, 3),
    Capability.SPARSE: (2, 4),
    Capability.HYBRID: (2, 4),
    Capability.FULL_TEXT: (2, 5),
}
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One kind of Milvus.

    Attributes:
        name: For errors.
        version: Major and minor; None for Milvus Lite.
        write: The client's method that replaces whole rows. Lite's `upsert` merges the dynamic
            fields of the old row into the new one, while its `insert` replaces.
        rows_at_once: The rows of one request of a bulk write, unless they are too large or the
            configuration says otherwise.
        writes_at_once: The requests of a bulk write that are under way at once. The log of Milvus Lite
            does not survive concurrent writes.
        reads_own_writes: Every read sees the writes before it, whatever the consistency level.
        buffers: Rows lie in a buffer that is searched row by row until they are flushed.
        window: The most rows of one answer, or None.
        page_rows: The least rows to read at once; where each page costs a pass over all rows.
        orders_pages: Pages come in the order of ids only if the iterator's flag asks for it.
        counts_by_reading: `count(*)` with a filter reads every row that passes.
        looks_into_dynamic_lists: `json_contains` takes a dynamic key as it takes a path in JSON.
        matches_infix: LIKE takes `%` and `_` anywhere.
        json_bytes: The most bytes of one JSON field, and of all dynamic keys together, or None.
        text_bytes: The most bytes of one text, or None.
        counts_bytes: The lengths of ids are limited in bytes, not in characters.
        max_dimension: Of dense vectors, or None.
        max_fields: Of one collection, or None.
        capabilities: The legs that its collections can have, and whether several of them.
        index: The index of dense vectors that is taken by default.
        binary_index: That of binary vectors; None where the engine has none.
        starves: Its indexes that are not exact give too few rows where a filter leaves few.
        text_analyzer: The analyzer for texts, which leaves terms between spaces as they are.
        splits_words: It makes the same words of a text as `FullTextOptions`.
        negates_bm25: Full-text scores come with the wrong sign.
        takes_zero_k1: BM25 may count a repeated word once.
        text_index: The scalar index for texts.
        number_index: The scalar index for numbers.
        flag_index: The scalar index for booleans, or None.
        indexes_json: It has indexes of paths in JSON.
        partitions: Counts and deletes keep to a partition. Those of Milvus Lite go through all.
        partition_keys: Rows are kept apart by a field's value. Server 2.3.5 writes some of them where
            it does not look for them.
        narrows: Asking only for rows of some score makes an exact search no slower. Milvus Lite
            reads five times as many rows then.
    """

    name: str
    version: ServerVersion
    write: str
    rows_at_once: int
    writes_at_once: int
    reads_own_writes: bool
    buffers: bool
    window: int | None
    page_rows: int
    orders_pages: bool
    counts_by_reading: bool
    looks_into_dynamic_lists: bool
    matches_infix: bool
    json_bytes: int | None
    text_bytes: int | None
    counts_bytes: bool
    max_dimension: int | None
    max_fields: int | None
    capabilities: frozenset[Capability]
    index: VectorIndex
    binary_index: VectorIndex | None
    starves: bool
    text_analyzer: Mapping[str, str]
    splits_words: bool
    negates_bm25: bool
    takes_zero_k1: bool
    text_index: str
    number_index: str
    flag_index: str | None
    indexes_json: bool
    partitions: bool
    partition_keys: bool
    narrows: bool


LITE: Final = Engine(
    name="Milvus Lite",
    version=None,
    write="insert",
    rows_at_once=1_000,
    writes_at_once=1,
    reads_own_writes=True,
    buffers=True,
    window=None,
    page_rows=4_000,
    orders_pages=False,
    counts_by_reading=True,
    looks_into_dynamic_lists=False,
    matches_infix=True,
    json_bytes=None,
    text_bytes=None,
    counts_bytes=False,
    max_dimension=None,
    max_fields=None,
    capabilities=frozenset(Capability),
    index=Flat(),  # its HNSW gives too few rows where a filter leaves few, and is hardly faster
    binary_index=None,
    starves=True,
    text_analyzer=MappingProxyType({"tokenizer": "standard"}),
    splits_words=True,
    negates_bm25=True,
    takes_zero_k1=False,
    text_index="INVERTED",
    number_index="INVERTED",
    flag_index="INVERTED",
    indexes_json=False,
    partitions=False,
    partition_keys=False,
    narrows=False,
)


def engine_of(version: str) -> Engine:
    """The engine that calls itself `version`, such as `milvus_lite-3.2.2` or `v2.3.5`."""
    if version.startswith("milvus_lite"):
        return LITE
    found = _VERSION.search(version)
    return _server((int(found[1]), int(found[2])) if found else _NEWEST)


def full_name(version: str) -> str:
    """Name and full version of the engine that calls itself `version`, such as "Milvus 2.3.5"."""
    found = re.search(r"\d+(\.\d+)*", version)
    name = "Milvus Lite" if version.startswith("milvus_lite") else "Milvus"
    return f"{name} {found[0]}" if found else f"{name} {version}"


def _server(version: tuple[int, int]) -> Engine:
    return Engine(
        name=f"Milvus {version[0]}.{version[1]}",
        version=version,
        write="upsert",
        rows_at_once=5_000,
        writes_at_once=_WRITES_AT_ONCE,
        reads_own_writes=False,
        buffers=False,
        window=_WINDOW,
        page_rows=1,
        orders_pages=True,
        counts_by_reading=False,
        looks_into_dynamic_lists=True,
        matches_infix=version >= (2, 4),
        json_bytes=65_536,
        text_bytes=65_535,
        counts_bytes=True,
        max_dimension=32_768,
        max_fields=64,
        capabilities=frozenset(each for each, since in _SINCE.items() if version >= since),
        index=AutoIndex(),
        binary_index=BinFlat(),
        starves=False,
        text_analyzer=MappingProxyType({"tokenizer": "whitespace"}),
        splits_words=False,  # nor does its standard analyzer, which takes "don't" for one word
        negates_bm25=False,
        takes_zero_k1=True,
        text_index="INVERTED" if version >= (2, 4) else "Trie",
        number_index="INVERTED" if version >= (2, 4) else "STL_SORT",
        flag_index="INVERTED" if version >= (2, 4) else None,
        indexes_json=version >= (2, 5),
        partitions=True,
        partition_keys=version >= (2, 4),
        narrows=True,
    )
