"""Stores of tenants and of partitions see, count and change their own rows alone."""

import pickle

import pytest

from ragbridge.errors import EntryNotFoundError, InvalidConfigError, InvalidQueryError
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.testing._suite.samples import NASTY_TEXTS, ids_of, make_entry

BOTH = pytest.mark.stores("milvus-lite", "milvus")
EAST = [1.0, 0.0, 0.0, 0.0]


@pytest.fixture
def stores(make_store):
    """Two tenants' stores of one collection, with rows of equal ids in both."""
    one = make_store(tenant="one")
    two = make_store(tenant="two", collection_name=one.collection_name)
    for name, store in (("one", one), ("two", two)):
        store.add([make_entry(str(n), EAST, text=name, document_id="d") for n in range(5)])
    return one, two


def texts(rows):
    return {row.chunk.content for row in rows}


@BOTH
def test_tenants_do_not_see_each_other(stores):
    for name, store in zip(("one", "two"), stores, strict=True):
        query = VectorStoreQuery(embedding=EAST, top_k=100)
        assert texts(store.query(query)) == texts(store.scan()) == {name}
        assert texts(store.query(VectorStoreQuery(document_ids=["d"], top_k=-1))) == {name}
        assert texts(store.get(["1", "2"])) == {name}
        assert ids_of(store.get(["2", "1", "x"])) == ["2", "1"]
        assert ids_of(store.query(VectorStoreQuery(ids=["3"]))) == ["3"]
        assert store.count() == 5
        assert store.count(ids=["1", "one/2", "two/2"]) == 1


@BOTH
def test_tenants_do_not_change_each_other(stores):
    one, two = stores
    one.add([make_entry("0", EAST, text="new")])
    one.delete(["1", "two/1"])
    assert one.delete_by_filter(document_ids=["d"], ids=["2"]) == 1
    with pytest.raises(EntryNotFoundError) as caught:
        one.delete("1", missing_ok=False)
    assert caught.value.ids == ["1"]
    assert (one.count(), two.count()) == (3, 5)
    one.clear()
    assert (one.count(), two.count()) == (0, 5)
    assert texts(two.scan()) == {"two"}


@BOTH
@pytest.mark.parametrize("expr", ['tenant == "two"', 'tenant != ""', 'id like "two/%"'])
def test_no_expression_reaches_another_tenant(stores, expr):
    query = VectorStoreQuery(embedding=EAST, options={"expr": expr}, top_k=100)
    assert texts(stores[0].query(query)) <= {"one"}


@BOTH
async def test_async(stores):
    one, two = stores
    await one.aadd([make_entry("9", EAST, text="one")])
    assert await one.acount() == 6
    assert texts(await two.aget(["0", "9"])) == {"two"}
    await one.aclear()
    assert await two.acount() == 5
    await one.aclose()
    await two.aclose()


@pytest.mark.stores("milvus-lite")
def test_any_text_is_a_tenant(make_store):
    first = make_store(tenant="keep")
    first.add([make_entry("a", EAST)])
    names = [*dict.fromkeys(NASTY_TEXTS)]
    for name in names:
        with MilvusVectorStore(
            first.collection_name, config=first.config, tenant=f"/{name}"
        ) as store:
            assert store.count() == 0, name
            store.add([make_entry(name, EAST, text=name)])
            assert [row.chunk.content for row in store.scan()] == [name]
            assert ids_of(store.get([name])) == [name]
    assert first.count() == 1


def test_stored_ids_are_of_one_tenant_only():
    pairs = [("a", "b/c"), ("a/b", "c"), ("a%2Fb", "c"), ("a%", "2Fb/c"), ("", "a")]
    stored = {Tenancy(tenant).stored([row_id]) for tenant, row_id in pairs}
    assert len(stored) == len(pairs)
    for tenant, row_id in pairs:
        (kept,) = Tenancy(tenant).stored([row_id])
        assert Tenancy(tenant).given(kept) == row_id


@BOTH
def test_a_collection_is_for_tenants_or_not(stores, make_store):
    name = stores[0].collection_name
    with pytest.raises(InvalidConfigError, match="made for tenants; give one"):
        make_store(collection_name=name).count()
    plain = make_store()
    plain.add([make_entry("a", EAST)])
    with pytest.raises(InvalidConfigError, match="without tenants; leave tenant out"):
        make_store(collection_name=plain.collection_name, tenant="one").count()


@pytest.mark.parametrize(
    "wrong", [{"tenant": ""}, {"tenant": 5}, {"tenant": "x" * 257}, {"tenant": "\ud800"},
              {"partition": "a b"}, {"partition": ""}, {"partition": 5},
              {"tenant": "a", "partition": "b"}],
)  # fmt: skip
def test_wrong_names_are_refused(wrong, tmp_path):
    with pytest.raises(InvalidConfigError, match=r"tenant|partition"):
        MilvusVectorStore(uri=str(tmp_path / "a.db"), **wrong)


def test_a_copy_is_of_the_same_tenant(tmp_path):
    store = MilvusVectorStore(uri=str(tmp_path / "a.db"), tenant="acme")
    assert "tenant='acme'" in repr(pickle.loads(pickle.dumps(store)))


# Partitions


@pytest.mark.stores("milvus-lite")
def test_milvus_lite_keeps_to_no_partition(make_store):
    with pytest.raises(InvalidConfigError, match="counts and deletes across partitions"):
        make_store(partition="a").count()


@pytest.mark.stores("milvus")
def test_partitions(make_store):
    news = make_store(partition="news")
    every = make_store(collection_name=news.collection_name)
    old = make_store(collection_name=news.collection_name, partition="old")
    assert news.count() == old.count() == 0
    news.add([make_entry(str(n), EAST, text="news") for n in range(3)])
    assert old.count() == 0
    old.add([make_entry("2", EAST, text="moved"), make_entry("3", EAST, text="old")])
    assert [store.count() for store in (news, old, every)] == [2, 2, 4]
    assert texts(old.scan()) == {"moved", "old"}
    asked = VectorStoreQuery(embedding=EAST, options={"partitions": ["old"]}, top_k=10)
    assert sorted(ids_of(every.query(asked))) == ["2", "3"]
    assert every.query(VectorStoreQuery(embedding=EAST, options={"partitions": []})) == []
    with pytest.raises(InvalidQueryError, match="keeps to the partition 'old'"):
        old.query(asked)
    old.delete(["0", "3"])
    assert every.count() == 3
    old.clear()
    assert [store.count() for store in (news, old, every)] == [2, 0, 2]


@pytest.mark.stores("milvus")
def test_an_id_is_unique_in_the_store_that_sees_all_partitions(make_store):
    """Also where that store was in use before there were any."""
    every = make_store()
    every.add([make_entry("0", EAST, text="every")])
    news = make_store(collection_name=every.collection_name, partition="news")
    news.add([make_entry(str(n), EAST, text="news") for n in range(3)])
    assert [store.count() for store in (news, every)] == [3, 3]
    every.add([make_entry("1", EAST, text="moved")])
    assert [store.count() for store in (news, every)] == [2, 3]
    assert {row.id: row.chunk.content for row in every.scan()} == {
        "0": "news", "1": "moved", "2": "news",
    }  # fmt: skip
    every.delete("2")
    assert ids_of(news.scan()) == ["0"]
    every.clear()
    assert [store.count() for store in (news, every)] == [0, 0]
