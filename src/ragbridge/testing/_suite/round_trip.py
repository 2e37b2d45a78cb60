"""What goes into a store comes out of it, to the last detail."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.documents import Chunk, TextChunk
from ragbridge.stores.base import VectorEntry, VectorStore, VectorStoreQuery
from ragbridge.testing._strategies import metadata
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import (
    NASTY_TEXTS,
    assert_same_rows,
    make_entry,
    stored_rows,
)

__all__ = ["RoundTripTests"]

VECTOR = [0.1, -0.2, 3e-20, 123456.789]

CHUNKS: dict[str, Chunk] = {
    "plain": TextChunk(content="some text"),
    "empty": TextChunk(content=""),
    "all fields": TextChunk(
        id="c1", content="text", document_id="d1", index=3, start=100, end=104, metadata={"x": 1}
    ),
    "zero offsets": TextChunk(content="", index=0, start=0, end=0),
    "large numbers": TextChunk(content="x", index=2**53 + 1, start=2**40, end=2**62),
    "own id": TextChunk(id="another id than the row's", content="x"),
    "long": TextChunk(content="word \u00e9 \U0001f44d " * 2000),
    "own type": TextChunk(type="paragraph", content="x"),
    "not text": Chunk(type="image-chunk", content=b"\x00\x01\xff\xfe bytes"),
    "no bytes": Chunk(type="image-chunk", content=b""),
    "text in a plain chunk": Chunk(content="x"),
    "json": Chunk(type="table", content={"rows": [[1, 1.0, None], ["a", True, {}]]}),
    "list": Chunk(type="table", content=[1, "two", None]),
    "number": Chunk(type="number", content=7),
    "nothing": Chunk(type="nothing", content=None),
}

TEXTS = [*NASTY_TEXTS, "", "tab\tline\nreturn\rnul\x00", "".join(map(chr, range(1, 0x250)))]

METADATA: dict[str, dict[str, Any]] = {
    "empty": {},
    "scalars": {"s": "text", "i": 1, "f": 1.5, "t": True, "n": None, "no": False},
    "one and one": {"int": 1, "float": 1.0, "bool": True, "text": "1", "list": [1, 1.0, True]},
    "zeros": {"int": 0, "float": 0.0, "bool": False, "text": "", "list": [], "object": {}},
    "containers": {"e": {}, "l": [], "le": [{}], "ll": [[], [[]]], "n": {"n": {"n": {}}}},
    "nulls": {"a": None, "b": [None, None], "c": {"d": None}},
    "integers": {"max": 2**63 - 1, "min": -(2**63), "big": 2**53 + 1, "list": [2**63 - 1]},
    "floats": {"a": 0.1, "b": 1e308, "c": 5e-324, "d": 2.0**53, "e": 1e16, "f": -1.5e-7},
    "many": {f"key {n}": n for n in range(100)},
    "mixed": {"list": [1, "a", None, True, 1.5, {"x": [1]}, [2]]},
    "deep": {"a": {"b": {"c": {"d": {"e": [{"f": {"g": "h"}}]}}}}},
}

KEYS = [
    *NASTY_TEXTS,
    *("", "id", "pk", "text", "vector", "sparse", "content", "chunk", "metadata", "embedding"),
    *("framework_data", "document_id", "deleted", "type", "index", "score", "distance", "$meta"),
    *("a b", "a.b", "a[0]", "__class__", "_id", "key " * 60),
]


class RoundTripTests(StoreSuite):
    """Chunks, metadata, framework data and vectors, exactly: 1 stays 1, and 1.0 stays 1.0."""

    @pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
    def test_chunks_come_back(self, store: VectorStore, chunk: Chunk) -> None:
        assert_comes_back(store, VectorEntry(id="r", embedding=VECTOR, chunk=chunk))

    @pytest.mark.parametrize("data", METADATA.values(), ids=METADATA)
    def test_metadata_comes_back(self, store: VectorStore, data: dict[str, Any]) -> None:
        assert_comes_back(store, make_entry("r", VECTOR, metadata=data))

    @pytest.mark.parametrize("data", METADATA.values(), ids=METADATA)
    def test_framework_data_comes_back(self, store: VectorStore, data: dict[str, Any]) -> None:
        assert_comes_back(store, make_entry("r", VECTOR, framework_data=data))

    def test_any_text_comes_back(self, store: VectorStore) -> None:
        assert_all_come_back(store, [make_entry(f"{n:03}", text=t) for n, t in enumerate(TEXTS)])

    def test_any_key_comes_back(self, store: VectorStore) -> None:
        rows = [
            make_entry(f"{n:03}", metadata={key: key}, framework_data={key: n})
            for n, key in enumerate(KEYS)
        ]
        together = make_entry("all", metadata=dict.fromkeys(KEYS, 1))
        assert_all_come_back(store, [*rows, together])

    def test_any_id_comes_back(self, store: VectorStore) -> None:
        ids = sorted({*NASTY_TEXTS, "x" * 512})
        assert_all_come_back(
            store, [make_entry(row_id, text=row_id, document_id=row_id) for row_id in ids]
        )
        assert_same_rows(
            store.get(ids), [make_entry(row_id, text=row_id, document_id=row_id) for row_id in ids]
        )

    def test_metadata_and_framework_data_stay_apart(self, store: VectorStore) -> None:
        row = make_entry("r", metadata={"x": 1}, framework_data={"x": "other", "y": 2})
        assert_comes_back(store, row)
        bare = make_entry("r", framework_data={"y": 2})
        assert_comes_back(store, bare)

    def test_vectors_come_back_bit_by_bit(self, store: VectorStore) -> None:
        vectors = [
            [3.0, 4.0, 0.0, 0.0],
            [1e-10, -1e10, 0.1, 1 / 3],
            [-0.1, 0.2, -0.3, 16777217.0],
            [1e-18, 0.0, 0.0, 0.0],
            [1.0, 1e-45, -1e-40, 0.0],
        ]
        rows = [make_entry(str(n), vector) for n, vector in enumerate(vectors)]
        assert_all_come_back(store, rows)
        query = VectorStoreQuery(embedding=[1.0, 1.0, 1.0, 1.0], include_embeddings=True)
        found = sorted(store.query(query), key=lambda match: match.id or "")
        assert_same_rows(found, rows)

    def test_random_rows_come_back(self, store: VectorStore) -> None:
        texts = st.text(max_size=20)

        @given(st.lists(st.tuples(texts, metadata(), metadata()), min_size=1, max_size=8))
        def check(drawn: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
            store.clear()
            rows = [
                make_entry(str(n), text=text, metadata=data, framework_data=extra)
                for n, (text, data, extra) in enumerate(drawn)
            ]
            assert_all_come_back(store, rows)

        check()


def assert_comes_back(store: VectorStore, row: VectorEntry) -> None:
    """Assert that one row is read back as it is, by every way of reading."""
    store.add([row])
    assert_same_rows(store.get(["r"]), [row])
    assert_same_rows(list(store.scan()), [row])
    asked = VectorStoreQuery(embedding=VECTOR, include_embeddings=True)
    assert_same_rows(store.query(asked), [row])
    assert_same_rows(store.query(VectorStoreQuery()), [row], embeddings=False)


def assert_all_come_back(store: VectorStore, rows: list[VectorEntry]) -> None:
    """Assert that all rows, and no others, are read back as they are."""
    store.add(rows)
    assert_same_rows(stored_rows(store), sorted(rows, key=lambda row: row.id or ""))
