"""What the benchmarks of Milvus share: rows, collections of plain pymilvus, and stores."""

import gc
from uuid import uuid4

import numpy as np
import pytest

from plain_milvus import DIMENSION, ROWS, Plain, load_anew
from ragbridge.stores.milvus import MilvusVectorStore


@pytest.fixture(autouse=True)
def _frozen():
    """What the fixtures keep, millions of numbers, is not for the calls to look through again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).standard_normal((ROWS, DIMENSION), dtype=np.float32)


@pytest.fixture(scope="module")
def uri(store_name, request, tmp_path_factory):
    if store_name == "milvus":
        return request.getfixturevalue("milvus_server").uri
    return str(tmp_path_factory.mktemp("lite") / "rows.db")


@pytest.fixture(scope="module")
def make_store(uri):
    """A function that makes a store with HNSW and without full text."""
    stores = [MilvusVectorStore("keeps_the_file_open", uri=uri)]
    stores[0].ping()

    def make(**options):
        options = {"index": "HNSW", "full_text": False, **options}
        stores.append(MilvusVectorStore(f"ours_{uuid4().hex}", uri=uri, **options))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def client(uri, make_store):
    from pymilvus import MilvusClient

    client = MilvusClient(uri, timeout=60)
    yield client
    client.close()


@pytest.fixture(scope="module")
def plain(client, vectors):
    plain = Plain(client, vectors)
    plain.fill()
    load_anew(client, plain.name)
    return plain
