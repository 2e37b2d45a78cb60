"""The conformance suite: prove a vector store of your own with one fixture.

```python
import pytest
from ragbridge.testing import VectorStoreConformance

class TestMyStore(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self):
        with MyStore() as store:
            yield store
```

`vector_store` gives an empty store for each test; it may be a new one, or one that was cleared and
holds dense vectors of dimension 4. Every test runs twice: through the sync methods, and through
their async twins. Answers are compared with `ragbridge.matches`, with tables worked out by hand and
with `ReferenceVectorStore`, never with the store under test.

| class | proves |
|---|---|
| `VectorStoreConformance` | all that every store promises, with dense vectors |
| `AddTests`, `QueryTests`, `ScoreTests`, `ReadTests`, `DeleteTests`, `LifecycleTests`, `RoundTripTests`, `InjectionTests`, `FilterTests` | its parts; run `ScoreTests` once for each metric |
| `SparseTests` | sparse vectors; the store must hold nothing else |
| `BinaryTests` | binary vectors, of dimension 16; run it once for each of their metrics |
| `FullTextTests` | full-text search |
| `HybridTests` | several legs at once; the store holds dense and sparse vectors |
| `RetrieverTests` | a retriever, by a fixture `retriever` over its `CHUNKS` |
| `EmbeddingProviderTests` | an embedding provider, by a fixture `embedding_provider` |

`CongruenceMachine` drives several stores with the same random calls, and compares every answer.

Needs pytest and hypothesis.
"""

from ragbridge.testing import _requirements  # noqa: F401 - before anything that needs them
from ragbridge.testing._filter_tables import FILTER_TABLES, FilterTable
from ragbridge.testing._reference import ReferenceVectorStore
from ragbridge.testing._suite.adding import AddTests
from ragbridge.testing._suite.binary import BinaryTests
from ragbridge.testing._suite.congruence import CongruenceMachine, Subject
from ragbridge.testing._suite.deleting import DeleteTests
from ragbridge.testing._suite.embedding import EmbeddingProviderTests
from ragbridge.testing._suite.filtering import FilterTests
from ragbridge.testing._suite.injection import InjectionTests
from ragbridge.testing._suite.legs import FullTextTests, HybridTests, SparseTests
from ragbridge.testing._suite.lifecycle import LifecycleTests
from ragbridge.testing._suite.querying import QueryTests, ScoreTests
from ragbridge.testing._suite.reading import ReadTests
from ragbridge.testing._suite.retrieving import RetrieverTests
from ragbridge.testing._suite.round_trip import RoundTripTests

__all__ = [
    "FILTER_TABLES",
    "AddTests",
    "BinaryTests",
    "CongruenceMachine",
    "DeleteTests",
    "EmbeddingProviderTests",
    "FilterTable",
    "FilterTests",
    "FullTextTests",
    "HybridTests",
    "InjectionTests",
    "LifecycleTests",
    "QueryTests",
    "ReadTests",
    "ReferenceVectorStore",
    "RetrieverTests",
    "RoundTripTests",
    "ScoreTests",
    "SparseTests",
    "Subject",
    "VectorStoreConformance",
]


class VectorStoreConformance(
    AddTests,
    QueryTests,
    ScoreTests,
    ReadTests,
    DeleteTests,
    LifecycleTests,
    RoundTripTests,
    InjectionTests,
    FilterTests,
):
    """All that every store promises. Give it a fixture `vector_store`."""
