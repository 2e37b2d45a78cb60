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
| `ScoreTests` | the part of it about scores: run it once for each metric |
| `FilterTests` | the part of it about filters |
| `SparseTests` | sparse vectors; the store must hold nothing else |
| `FullTextTests` | full-text search |
| `HybridTests` | several legs at once; the store holds dense and sparse vectors |

Needs pytest and hypothesis.
"""

from ragbridge.errors import MissingDependencyError

try:
    import hypothesis  # noqa: F401 - only to see whether it is there
    import pytest
except ImportError as error:
    raise MissingDependencyError(
        f"ragbridge.testing needs {error.name}; run: pip install pytest hypothesis", name=error.name
    ) from error

pytest.register_assert_rewrite(f"{__name__}._suite")

from ragbridge.testing._filter_tables import FILTER_TABLES, FilterTable  # noqa: E402
from ragbridge.testing._reference import ReferenceVectorStore  # noqa: E402
from ragbridge.testing._suite.adding import AddTests  # noqa: E402 - after the registration above
from ragbridge.testing._suite.deleting import DeleteTests  # noqa: E402
from ragbridge.testing._suite.filtering import FilterTests  # noqa: E402
from ragbridge.testing._suite.injection import InjectionTests  # noqa: E402
from ragbridge.testing._suite.legs import FullTextTests, HybridTests, SparseTests  # noqa: E402
from ragbridge.testing._suite.lifecycle import LifecycleTests  # noqa: E402
from ragbridge.testing._suite.querying import QueryTests, ScoreTests  # noqa: E402
from ragbridge.testing._suite.reading import ReadTests  # noqa: E402
from ragbridge.testing._suite.round_trip import RoundTripTests  # noqa: E402

__all__ = [
    "FILTER_TABLES",
    "FilterTable",
    "FilterTests",
    "FullTextTests",
    "HybridTests",
    "ReferenceVectorStore",
    "ScoreTests",
    "SparseTests",
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
