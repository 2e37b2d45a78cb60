"""Requests made field by field: what pymilvus makes of the same rows, and who makes them."""

import numpy as np
import pytest

from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import BinaryVector, HybridVector, SparseVector
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.milvus import packing
from ragbridge.stores.milvus.capabilities import engine_of
from ragbridge.stores.milvus.clients import import_pymilvus
from ragbridge.stores.milvus.columns import check_metadata_fields
from ragbridge.stores.milvus.layout import Schema, new_collection
from ragbridge.stores.milvus.packing import RowData
from ragbridge.stores.milvus.rows import FIELDS, encode
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.testing._suite.samples import NASTY_TEXTS, assert_same_rows, make_entry, stored_rows

ENGINE = engine_of("v3.0.0")
COLUMNS = check_metadata_fields({"text": str, "whole": int, "real": float, "flag": bool})

EMBEDDINGS = {
    "dense": lambda n: np.array([n, 0.1, -1e-30], np.float32),
    "binary": lambda n: BinaryVector(bytes([n, 255])),
    "sparse": lambda n: SparseVector([n, 2**32 - 2], [0.1, n + 1]),
    "hybrid": lambda n: HybridVector([n, 0.1], SparseVector(range(n + 1), [1.5] * (n + 1))),
    "none": lambda _n: None,
}


def entries_of(kind, count=7):
    values = {"text": "é€😀", "whole": 2**63 - 1, "real": 0.1, "flag": True, "spec": {"ram": [1.0]}}
    chunks = [
        TextChunk(content=NASTY_TEXTS[n], metadata=values, document_id="a\x00b", index=n)
        for n in range(count - 1)
    ]
    chunks.append(Chunk(id="raw", content=b"\x00\xff", metadata={"text": 1, "\x00": None}))
    return {
        f"é{n}": VectorEntry(
            id=f"é{n}",
            embedding=EMBEDDINGS[kind](n),
            chunk=chunk,
            framework_data={"n": n},
            deleted=n % 2 == 0,
        )
        for n, chunk in enumerate(chunks)
    }


def schema_of(entries, **options):
    return Schema(VectorShape.of(next(iter(entries.values()))), **options)


def made_by_pymilvus(rows, kind, schema):
    """What pymilvus makes of rows that it is given one by one."""
    from pymilvus.client.prepare import Prepare

    fields = new_collection(import_pymilvus(), schema, ENGINE)["schema"].to_dict()["fields"]
    make = {"InsertRequest": Prepare.row_insert_param, "UpsertRequest": Prepare.row_upsert_param}
    return make[kind]("rows", [*rows], "part", fields, enable_dynamic=True)


def by_name(request):
    return {field.field_name: field for field in request.fields_data}


SCHEMAS = {
    "plain": {},
    "terms": {"full_text": FullTextOptions(stemmer="porter"), "has_terms": True},
    "declared": {"columns": COLUMNS},
    "tenants": {"has_tenants": True},
}


@pytest.mark.parametrize("kind", ["InsertRequest", "UpsertRequest"])
@pytest.mark.parametrize("options", SCHEMAS)
@pytest.mark.parametrize("vectors", EMBEDDINGS)
def test_requests_are_those_that_pymilvus_makes(vectors, options, kind):
    """If this fails, pymilvus has changed how it fills requests: `packing` must follow."""
    entries = entries_of(vectors)
    schema = schema_of(entries, **SCHEMAS[options])
    rows = encode(entries, ENGINE, schema, Tenancy("acme" if schema.has_tenants else None))
    request = RowData(rows, "rows", "part").request(kind)
    theirs = made_by_pymilvus(rows, kind, schema)
    assert by_name(request) == by_name(theirs)
    del request.fields_data[:], theirs.fields_data[:]
    assert request == theirs


def test_parts_and_groups_keep_the_rows():
    entries = entries_of("dense")
    schema = schema_of(entries, columns=COLUMNS)
    rows = encode(entries, ENGINE, schema, Tenancy())
    parts = [rows.part(start, start + 3) for start in (0, 3, 6)]
    assert [*map(len, parts)] == [3, 3, 1]
    whole = RowData(packing.Rows.joined(parts), "rows").request("InsertRequest")
    assert whole == RowData(rows, "rows").request("InsertRequest")


@pytest.mark.parametrize("vectors", EMBEDDINGS)
def test_sizes_are_those_in_requests(vectors):
    entries = entries_of(vectors)
    schema = schema_of(entries, columns=COLUMNS)
    rows = encode(entries, ENGINE, schema, Tenancy())
    for place, size in enumerate(rows.sizes()):
        one = RowData(rows.part(place, place + 1), "").request("InsertRequest").ByteSize()
        none = sum(len(name) + 32 for name in rows.fields)
        assert one - none <= size <= one + 8 * len(rows.fields)


class TestWhoMakesThem:
    @pytest.fixture
    def unwanted(self, monkeypatch):
        """Pymilvus's own way to make requests of rows, which fails."""
        from pymilvus.client.prepare import Prepare

        def fail(*_args, **_kwargs):
            raise AssertionError("pymilvus packs the rows: its handlers have other methods now")

        for name in ("row_insert_param", "row_upsert_param"):
            monkeypatch.setattr(Prepare, name, fail)

    @pytest.mark.stores("milvus-lite", "milvus")
    @pytest.mark.usefixtures("unwanted")
    async def test_both_clients_take_ready_requests(self, make_store):
        store = make_store()
        store.add([make_entry("a")])
        await store.aadd([make_entry("b")])
        assert_same_rows(stored_rows(store), [make_entry("a"), make_entry("b")])
        await store.aclose()

    @pytest.mark.stores("milvus-lite", "milvus")
    async def test_a_pymilvus_with_other_methods_takes_rows(self, make_store, monkeypatch):
        monkeypatch.setattr(packing, "_METHODS", {"_prepare_otherwise": "InsertRequest"})
        store = make_store(metadata_fields={"flag": bool})
        entries = [*entries_of("dense").values()]
        store.add(entries[:4])
        await store.aadd(entries[4:])
        assert_same_rows(stored_rows(store), entries)
        await store.aclose()

    @pytest.mark.stores("milvus-lite", "milvus")
    def test_the_client_still_takes_rows_of_others(self, make_store):
        store = make_store()
        store.add([make_entry("a")])
        name, strong = store.collection_name, {"consistency_level": "Strong"}
        found = store.client.query(name, 'id == "a"', [*FIELDS, "vector"], **strong)
        store.client.upsert(name, {**found[0], "id": "b"})
        written = store.client.query(name, 'id == "b"', [*FIELDS, "vector"], **strong)
        assert [*written] == [{**found[0], "id": "b"}]
