"""Rows for the tests of the in-memory store."""

import numpy as np

from ragbridge.documents import TextChunk
from ragbridge.stores.base import VectorEntry

__all__ = ["entry", "random_vectors", "with_metadata"]


def entry(row_id, vector=None, *, text="some text", metadata=None, **fields):
    """A text row; without a vector it may only join rows that have none."""
    chunk = TextChunk(content=text, metadata=metadata or {}, document_id=fields.pop("of", None))
    return VectorEntry(id=row_id, embedding=vector, chunk=chunk, **fields)


def with_metadata(rows):
    """Entries without vectors from `{id: metadata}`."""
    return [entry(row_id, metadata=metadata) for row_id, metadata in rows.items()]


def random_vectors(seed, *shape):
    """Normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
