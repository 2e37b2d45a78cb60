"""Databases, aliases, the clients beneath, and the metric of a collection that is there."""

from dataclasses import replace
from uuid import uuid4

import pytest

from ragbridge.errors import InvalidConfigError
from ragbridge.stores.base import SimilarityMetric, VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.testing._suite.samples import ids_of, make_entry

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

EAST = [1.0, 0.0, 0.0, 0.0]


@pytest.fixture
def alias(make_store):
    """Two collections with a row each, and a name that is the first one's alias."""
    one, two = make_store(), make_store()
    one.add([make_entry("one", EAST)])
    two.add([make_entry("two", EAST)])
    name = f"alias_{uuid4().hex}"
    one.client.create_alias(one.collection_name, name)
    yield one, two, name
    one.client.drop_alias(name)


def test_an_alias_is_as_good_as_a_name(alias):
    one, _, name = alias
    with MilvusVectorStore(name, config=one.config) as store:
        assert ids_of(store.query(VectorStoreQuery(embedding=EAST))) == ["one"]
        store.add([make_entry("more", EAST)])
        assert sorted(ids_of(one.scan())) == ["more", "one"]
        one.delete("more")
        assert store.count() == 1


def test_an_alias_can_be_moved_under_a_store(alias):
    one, two, name = alias
    with MilvusVectorStore(name, config=one.config) as store:
        assert ids_of(store.scan()) == ["one"]
        store.client.alter_alias(two.collection_name, name)
        two.add([make_entry("three", EAST)])
        assert sorted(ids_of(store.scan())) == ["three", "two"]


def test_databases_are_kept_apart(make_store):
    outside = make_store()
    outside.add([make_entry("outside", EAST)])
    database, name = f"db_{uuid4().hex}", outside.collection_name
    outside.client.create_database(database)
    config = replace(outside.config, db_name=database)
    with MilvusVectorStore(name, config=config) as inside:
        assert inside.count() == 0
        inside.add([make_entry("inside", EAST)])
        assert ids_of(inside.scan()) == ["inside"]
        assert ids_of(outside.scan()) == ["outside"]
        inside.client.drop_collection(name)
    outside.client.drop_database(database)


def test_a_database_that_is_not_there_is_refused(make_store):
    config = replace(make_store().config, db_name="nowhere")
    with MilvusVectorStore("rows", config=config) as store:
        for call in (store.count, lambda: store.add([make_entry("a", EAST)])):
            with pytest.raises(InvalidConfigError, match="nowhere"):
                call()


async def test_the_clients(make_store):
    store = make_store()
    store.add([make_entry("a", EAST)])
    assert store.client.has_collection(store.collection_name)
    client = await store.aclient()
    assert await client.has_collection(store.collection_name)
    await store.aclose()


@pytest.mark.parametrize("metric", [each for each in SimilarityMetric if not each.is_binary])
def test_the_metric_is_read_off_the_collection(make_store, metric):
    first = make_store(metric=metric)
    first.add([make_entry("a", [2.0, 0.0, 0.0, 0.0])])
    (wanted,) = first.query(VectorStoreQuery(embedding=EAST))
    config = replace(first.config, metric=None)
    with MilvusVectorStore(first.collection_name, config=config) as second:
        assert second.metric is metric
        (found,) = second.query(VectorStoreQuery(embedding=EAST))
        assert found.similarity_score == wanted.similarity_score
