"""LlamaIndex's store over every core store, by its sync methods and by their async twins."""

import pytest

from llama_index_stores import through
from ragbridge.llama_index import RagbridgeVectorStore
from ragbridge.stores.base import SimilarityMetric


@pytest.fixture
def node_store(backend):
    """An empty store of nodes; on engines in a collection that these tests share."""
    with backend.empty_store(metric=SimilarityMetric.COSINE, holds="llama_index") as core:
        yield RagbridgeVectorStore(core)


@pytest.fixture(params=["sync", "async"])
def store(node_store, request):
    """The same, called one way or the other."""
    with through(node_store, request.param) as called:
        yield called
