"""What every part of the conformance suite builds on."""

from collections.abc import Iterator
from typing import cast

import pytest

from ragbridge.stores.base import VectorStore
from ragbridge.testing._suite.through_async import ThroughAsync

__all__ = ["StoreSuite"]


class StoreSuite:
    """Runs each test twice: through the store's sync methods, and through their async twins."""

    @pytest.fixture
    def vector_store(self) -> VectorStore:
        """The store under test: empty, and made by the subclass."""
        raise NotImplementedError(
            f"{type(self).__name__} must have a fixture `vector_store` that gives an empty store"
        )

    @pytest.fixture(params=["sync", "async"])
    def store(
        self, vector_store: VectorStore, request: pytest.FixtureRequest
    ) -> Iterator[VectorStore]:
        """The store under test as the tests call it."""
        if cast("str", request.param) == "sync":
            yield vector_store
            return
        twin = ThroughAsync(vector_store)
        yield twin
        twin.end_loop()
