"""Stores are written down as JSON and made again, without their secrets."""

import copy
import json
import pickle

import pytest

from ragbridge.documents import TextChunk
from ragbridge.errors import InvalidConfigError, VectorStoreError
from ragbridge.stores import restore_vector_store
from ragbridge.stores.base import VectorEntry, VectorStore
from ragbridge.stores.memory import InMemoryVectorStore
from ragbridge.stores.milvus import MilvusConfig, MilvusVectorStore
from ragbridge.stores.milvus.indexes import Hnsw
from ragbridge.testing import ReferenceVectorStore

ROW = VectorEntry(
    id="a",
    embedding=[1.0, 0.0, 0.0, 0.0],
    chunk=TextChunk(content="t", metadata={"x": [1, None]}, document_id="d"),
    framework_data={"f": 1},
)
SECRET = "root:a-secret"

MADE_AGAIN = {
    "dict": lambda store: restore_vector_store(json.loads(json.dumps(store.to_dict()))),
    "pickle": lambda store: pickle.loads(pickle.dumps(store)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("again", MADE_AGAIN.values(), ids=MADE_AGAIN)
def test_rows_in_memory_go_along(again):
    from ragbridge.stores.milvus import FullTextOptions

    store = InMemoryVectorStore(metric="euclidean", full_text=FullTextOptions(k1=0.9))
    store.add([ROW])
    other = again(store)
    assert list(other.scan()) == [ROW]
    assert other.to_dict() == store.to_dict()
    other.clear()
    assert store.count() == 1


@pytest.mark.parametrize("again", MADE_AGAIN.values(), ids=MADE_AGAIN)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"index": Hnsw(m=32, ef=128), "metric": "dot_product"},
        {"full_text": False, "partition": "p", "consistency_level": "Strong"},
        {"full_text": True, "tenant": "acme", "timeout": 3},
        {"metadata_fields": {"a b": str, "n": int, "f": float, "b": bool}},
        {"json_indexes": {"k": int, ("a", "b"): bool}},
    ],
    ids=str,
)
def test_arguments_of_milvus_go_along(arguments, again):
    store = MilvusVectorStore("rows", uri="http://localhost:19530", **arguments)
    other = again(store)
    assert (other.config, repr(other)) == (store.config, repr(store))
    assert other.to_dict() == store.to_dict()
    assert other._plan == store._plan


def test_full_text_options_go_along():
    from ragbridge.stores.milvus import FullTextOptions

    options = FullTextOptions(stop_words=["the", "a"], stemmer="porter", b=0.5)
    store = MilvusVectorStore(uri="rows.db", full_text=options)
    other = restore_vector_store(json.loads(json.dumps(store.to_dict())))
    assert other._plan == store._plan
    assert other._plan.full_text.tokenize("The cats") == ["cat"]


def test_a_token_stays_behind(monkeypatch):
    monkeypatch.delenv("MILVUS_TOKEN", raising=False)
    store = MilvusVectorStore(config=MilvusConfig(uri="https://host:443", token=SECRET))
    described = store.to_dict()
    assert "secret" not in json.dumps(described)
    with pytest.raises(
        InvalidConfigError, match="written down without its token; set MILVUS_TOKEN"
    ):
        restore_vector_store(described)
    assert restore_vector_store({**described, "token": SECRET}).config.token == SECRET
    monkeypatch.setenv("MILVUS_TOKEN", SECRET)
    assert restore_vector_store(described).config.token == SECRET


@pytest.mark.parametrize(
    "description",
    [
        None,
        [],
        {},
        {"store_type": 3},
        {"store_type": "nowhere"},
        {"store_type": "milvus"},
        "milvus",
    ],
    ids=repr,
)
def test_what_is_no_description(description):
    with pytest.raises(InvalidConfigError):
        restore_vector_store(description)


def test_a_wrong_type_in_a_description():
    described = MilvusVectorStore(uri="rows.db").to_dict()
    with pytest.raises(InvalidConfigError, match="a type must be one of str, int, float, bool"):
        restore_vector_store({**described, "metadata_fields": [["k", "object"]]})


def test_damaged_rows():
    with pytest.raises(VectorStoreError, match="what was saved is damaged"):
        restore_vector_store({"store_type": "memory", "data": "AAAA"})


def test_stores_of_others_say_that_they_cannot():
    store: VectorStore = ReferenceVectorStore()
    with pytest.raises(InvalidConfigError, match="a ReferenceVectorStore has no description"):
        store.to_dict()
    with pytest.raises(InvalidConfigError, match="a ReferenceVectorStore cannot be made of"):
        ReferenceVectorStore.from_dict({})
