"""Real providers and stores that keep a record of what they were asked."""

from collections import Counter

import numpy as np

from ragbridge.embeddings import (
    BinaryVector,
    HashingEmbeddingProvider,
    HybridVector,
    SparseVector,
    dense_part,
)
from ragbridge.stores.memory import InMemoryVectorStore

__all__ = [
    "BinaryProvider",
    "HybridProvider",
    "RecordingProvider",
    "RecordingStore",
    "SparseProvider",
    "rows_of",
]


class RecordingProvider(HashingEmbeddingProvider):
    """Keeps the size of each batch; fails at the batch `fails_at`, counted from 0."""

    def __init__(self, dimension=64, *, fails_at=None):
        super().__init__(dimension)
        self.batches = []
        self.query_batches = []
        self.fails_at = fails_at

    def batch_embed(self, chunks):
        if len(self.batches) == self.fails_at:
            raise ConnectionError("the model has gone")
        self.batches.append(len(chunks))
        return super().batch_embed(chunks)

    def batch_embed_queries(self, texts):
        self.query_batches.append(list(texts))
        return [self._embed_text(text) for text in texts]


class SparseProvider(HashingEmbeddingProvider):
    """Word counts as sparse vectors."""

    def batch_embed(self, chunks):
        return [self._sparse(chunk.content) for chunk in chunks]

    def _sparse(self, text):
        counts = Counter(sum(word.encode()) % 1000 for word in text.lower().split())
        return SparseVector.from_dict({key: float(value) for key, value in counts.items()})


class BinaryProvider(HashingEmbeddingProvider):
    """Whether each number of a dense vector is positive, as bits."""

    def batch_embed(self, chunks):
        return [BinaryVector.from_bits(dense > 0) for dense in super().batch_embed(chunks)]


class HybridProvider(SparseProvider):
    """Dense and sparse vectors."""

    def batch_embed(self, chunks):
        dense = HashingEmbeddingProvider.batch_embed(self, chunks)
        sparse = SparseProvider.batch_embed(self, chunks)
        return [HybridVector(dense_part(one), two) for one, two in zip(dense, sparse, strict=True)]


class RecordingStore(InMemoryVectorStore):
    """Keeps (method, what it was about) of each write and search."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []

    def add(self, entries):
        self.calls.append(("add", [entry.id for entry in entries]))
        return super().add(entries)

    def delete(self, ids, *, missing_ok=True):
        self.calls.append(("delete", list(ids)))
        return super().delete(ids, missing_ok=missing_ok)

    def query_many(self, queries):
        self.calls.append(("query_many", list(queries)))
        return super().query_many(queries)

    def scan(self, *args, **kwargs):
        self.calls.append(("scan", kwargs))
        return super().scan(*args, **kwargs)

    def named(self, method):
        return [what for name, what in self.calls if name == method]


def rows_of(store):
    """Every row of a store by id, in a form that compares."""
    return {
        row.id: (row.chunk, np.asarray(row.embedding).tolist(), row.deleted, row.framework_data)
        for row in store.scan(include_deleted=True)
    }
