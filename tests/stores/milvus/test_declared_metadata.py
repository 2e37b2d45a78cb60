"""Declared metadata: typed columns that make filters faster and change no answer."""

from itertools import cycle, product
from time import sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter_tables import disagreements
from lite_filters import LiteFilters
from ragbridge.errors import InvalidConfigError
from ragbridge.filters import MetadataFilter, MetadataFilters, matches, where
from ragbridge.stores._requests import Selection, VectorShape
from ragbridge.stores.base import SimilarityMetric, VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.stores.milvus.capabilities import LITE, engine_of
from ragbridge.stores.milvus.columns import Column, check_json_indexes
from ragbridge.stores.milvus.connection import import_pymilvus
from ragbridge.stores.milvus.filters import compile_selection
from ragbridge.stores.milvus.layout import Layout, Schema, index_params, new_collection
from ragbridge.testing import FILTER_TABLES
from ragbridge.testing._strategies import _KEYS, filters, metadata
from ragbridge.testing._suite.filtering import add_rows, disagreement
from ragbridge.testing._suite.samples import NASTY_TEXTS, ids_of, make_entry

TYPES = (str, int, float, bool)
ENGINES = pytest.mark.parametrize("engine", [LITE, engine_of("v2.3.5")], ids=["infix", "no infix"])
BOTH = pytest.mark.stores("milvus-lite", "milvus")
TABLE_KEYS = sorted({key for table in FILTER_TABLES for row in table.rows.values() for key in row})
FIELDS = {"price": float, "category": str, "count": int, "new": bool}


@ENGINES
@pytest.mark.parametrize("declared", TYPES)
def test_expressions_agree_with_the_tables(engine, declared):
    columns = [Column(key, declared) for key in TABLE_KEYS]
    assert list(disagreements(LiteFilters(engine, columns))) == []


@ENGINES
def test_expressions_agree_with_the_definition(engine):
    @given(
        st.lists(metadata(), min_size=1, max_size=6),
        st.lists(filters(), max_size=6),
        st.dictionaries(st.sampled_from(_KEYS), st.sampled_from(TYPES), min_size=1),
    )
    def check(stored, asked, declared):
        rows = {str(number): data for number, data in enumerate(stored)}
        select = LiteFilters(engine, [Column(key, each) for key, each in declared.items()])
        for condition in asked:
            wanted = {name for name, data in rows.items() if matches(condition, data)}
            assert select(condition, rows) == wanted, condition

    check()


@BOTH
@pytest.mark.usefixtures("few_examples")
def test_random_filters_on_an_engine(make_store):
    store = make_store(metadata_fields=dict(zip(_KEYS, cycle(TYPES))))

    @given(st.lists(metadata(), min_size=1, max_size=12), st.lists(filters(), max_size=8))
    def check(stored, asked):
        store.clear()
        rows = {str(number): data for number, data in enumerate(stored)}
        add_rows(store, rows)
        for condition in asked:
            wanted = {name for name, data in rows.items() if matches(condition, data)}
            assert disagreement(store, condition, wanted) is None

    check()


@BOTH
@pytest.mark.parametrize("declared", TYPES)
@pytest.mark.parametrize("table", FILTER_TABLES[:2], ids=lambda table: table.name)
def test_tables_on_an_engine(make_store, table, declared):
    store = make_store(metadata_fields={"v": declared})
    add_rows(store, table.rows)
    for condition, wanted in table.cases:
        assert set(ids_of(store.scan(condition, include_embeddings=False))) == wanted, condition


def about(key, condition):
    """The same condition on `key` instead of "v"."""
    if isinstance(condition, MetadataFilters):
        return MetadataFilters(
            [about(key, each) for each in condition.filters], condition.condition
        )
    name = key if condition.key == "v" else condition.key
    return MetadataFilter(name, condition.operator, condition.value)


@BOTH
def test_tables_over_sealed_rows(make_store, store_name):
    """They are answered from the indexes of columns, which an engine makes of what is flushed."""
    keys = {f"v_{declared.__name__}": declared for declared in TYPES}
    store = make_store(metadata_fields=keys)
    tables = [table for table in FILTER_TABLES if any("v" in row for row in table.rows.values())]
    rows = [
        (table.name, name, {**data, **dict.fromkeys(keys, data["v"])} if "v" in data else data)
        for table in tables
        for name, data in table.rows.items()
    ]
    enough = 1_100 if store_name == "milvus" else 10  # servers make no index of fewer than 1,024
    others = [("other", str(number), row[2]) for number, row in zip(range(enough), cycle(rows))]
    store.add(
        [
            make_entry(f"{document}: {name}", text=name, document_id=document, metadata=data)
            for document, name, data in [*rows, *others]
        ]
    )
    seal(store)
    asked_of = [
        (table, key)
        for table, (key, declared) in product(tables, keys.items())
        if sum(type(row.get("v")) is declared for row in table.rows.values()) > 1
    ]
    for table, key in asked_of:
        for condition, wanted in table.cases:
            asked = about(key, condition)
            found = store.scan(asked, document_ids=[table.name], include_embeddings=False)
            assert {row.chunk.content for row in found} == wanted, asked


def seal(store):
    """Have everything flushed and indexed, and loaded anew."""
    client, name = store.client, store.collection_name
    client.flush(name)
    for index in client.list_indexes(name):
        while client.describe_index(name, index).get("pending_index_rows", 0):
            sleep(0.1)
    client.release_collection(name)
    client.load_collection(name)


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (where("price") < 100, "(k_price == 1 and m_price < 100.0)"),
        (where("category") == "a", '(k_category in [1, 2] and m_category == "a")'),
        (where("count") >= 3, "(k_count in [1, 2] and m_count >= 3)"),
        (where("count") == 3.0, "(k_count == 1 and m_count == 3)"),
        (where("new") == True, "(k_new == 1 and m_new == true)"),  # noqa: E712
        (where("price").exists(), "k_price > 0"),
        (~(where("price") < 100), "(k_price != 1 or m_price >= 100.0)"),
    ],
)
def test_the_engine_compares_columns_alone(condition, wanted):
    columns = {key: Column(key, each) for key, each in FIELDS.items()}
    selection = Selection(condition, include_deleted=True)
    assert compile_selection(selection, LITE, columns).may == wanted


@pytest.mark.parametrize(
    "condition",
    [
        where("category") == "long " * 1000,
        where("category").text_match(""),
        where("category").text_match("", ignore_case=True),
    ],
)
def test_the_engine_decides_alone(condition):
    columns = {"category": Column("category", str)}
    assert compile_selection(Selection(condition), LITE, columns).is_exact


def test_of_texts_only_long_ones_are_looked_at():
    selection = Selection(where("category").text_match("tent"), include_deleted=True)
    found = compile_selection(selection, LITE, {"category": Column("category", str)})
    assert found.must == '(k_category == 1 and m_category like "%tent%")'


@BOTH
def test_declared_fields_are_read_off_the_collection(make_store, backend):
    first = make_store(metadata_fields=FIELDS)
    first.add([make_entry("a", metadata={"price": 1, "category": "x", "other": [1]})])
    name = first.collection_name
    with MilvusVectorStore(name, config=first.config) as second:
        second.add([make_entry("b", metadata={"price": 2.5, "count": 2**63 - 1, "new": None})])
        rows = second.client.query(
            name, filter='id == "b"', output_fields=["m_price", "k_price", "m_count", "k_new"],
            consistency_level="Strong",
        )  # fmt: skip
        held = {key: rows[0][key] for key in ("m_price", "k_price", "m_count", "k_new")}
        assert held == {"m_price": 2.5, "k_price": 1, "m_count": 2**63 - 1, "k_new": 0}
        (row,) = second.get(["b"])
        assert row.chunk.metadata == {"price": 2.5, "count": 2**63 - 1, "new": None}
        assert second.count(where("price") > 0) == 2
    reordered = dict(reversed(FIELDS.items()))
    with MilvusVectorStore(name, config=first.config, metadata_fields=reordered) as third:
        assert third.count() == 2
    with (
        MilvusVectorStore(name, config=first.config, metadata_fields={"price": int}) as fourth,
        pytest.raises(InvalidConfigError, match=r"metadata_fields=.*leave metadata_fields out"),
    ):
        fourth.count()


@BOTH
async def test_async(make_store):
    store = make_store(metadata_fields=FIELDS)
    await store.aadd([make_entry(str(n), metadata={"price": n}) for n in range(5)])
    assert await store.acount(where("price") >= 3) == 2
    await store.aclose()


@pytest.mark.stores("milvus-lite", "milvus")
@pytest.mark.parametrize("part", [0, 1, 2])
def test_any_text_can_be_declared(make_store, part):
    keys = [*dict.fromkeys(NASTY_TEXTS), "x" * 300, "id", "deleted", "m_a"][part::3]
    store = make_store(metadata_fields=dict.fromkeys(keys, str))
    store.add([make_entry(f"r{n}", metadata={key: key}) for n, key in enumerate(keys)])
    for n, key in enumerate(keys):
        found = store.query(VectorStoreQuery(filters=where(key) == key, top_k=-1))
        assert ids_of(found) == [f"r{n}"], key


@pytest.mark.parametrize(
    "given_fields",
    ["price", ["price"], {1: str}, {("a", "b"): str}, {"a": list}, {"a": "str"}, {"\ud800": str}],
)
def test_what_declares_nothing_is_refused(given_fields, tmp_path):
    with pytest.raises(InvalidConfigError, match="metadata_fields"):
        MilvusVectorStore(uri=str(tmp_path / "a.db"), metadata_fields=given_fields)


@pytest.mark.stores("milvus")
def test_too_many_keys_are_refused_by_number(make_store):
    store = make_store(metadata_fields={str(n): str for n in range(40)})
    with pytest.raises(InvalidConfigError, match="declares 40 keys, but this collection can have"):
        store.add([make_entry("a")])


# What engines would be sent


@pytest.mark.parametrize(
    ("version", "types"),
    [
        ("milvus_lite-3.2.2", {"m_p": "INVERTED", "m_c": "INVERTED", "m_n": "INVERTED"}),
        ("v2.3.5", {"m_p": "STL_SORT", "m_c": "Trie"}),
        ("v2.4.1", {"m_p": "INVERTED", "m_c": "INVERTED", "m_n": "INVERTED"}),
        ("v2.6.0", {"m_p": "INVERTED", "m_c": "INVERTED", "m_n": "INVERTED"}),
    ],
)
def test_scalar_indexes(version, types):
    engine = engine_of(version)
    columns = (Column("p", float), Column("c", str), Column("n", bool))
    schema = Schema(VectorShape(4, sparse=False), columns=columns)
    layout = Layout(schema, SimilarityMetric.COSINE, engine.index)
    made = index_params(import_pymilvus(), layout, engine)
    sent = {name: next(iter(each)).index_type for name, each in made.items()}
    assert {name: each for name, each in sent.items() if name.startswith("m_")} == types
    assert sent["document_id"] == engine.text_index


def test_indexes_of_paths_in_json():
    engine = engine_of("v2.5.4")
    schema = Schema(VectorShape(4, sparse=False))
    layout = Layout(schema, SimilarityMetric.COSINE, engine.index)
    wanted = check_json_indexes({("spec", 'r"am'): int, "brand": str})
    made = index_params(import_pymilvus(), layout, engine, wanted)
    sent = [each.to_dict() for name in made if name.startswith("j") for each in made[name]]
    assert [each["field_name"] for each in sent] == ["metadata", "metadata"]
    assert "json_path" in str(sent[0])
    assert r"""metadata["spec"]["r\"am"]""" in str(sent[0]).replace("\\\\", "\\")
    assert "double" in str(sent[0])
    assert "varchar" in str(sent[1])


@BOTH
def test_json_indexes_are_refused_where_there_are_none(make_store):
    store = make_store(json_indexes={"brand": str})
    with pytest.raises(InvalidConfigError, match="no indexes of paths in JSON"):
        store.count()


@pytest.mark.parametrize(("version", "is_key"), [("v2.3.5", False), ("v2.4.0", True)])
def test_tenants_are_a_partition_key_where_those_work(version, is_key):
    schema = Schema(VectorShape(4, sparse=False), has_tenants=True)
    made = new_collection(import_pymilvus(), schema, engine_of(version))["schema"]
    (tenant,) = [field for field in made.fields if field.name == "tenant"]
    assert tenant.is_partition_key is is_key
