"""The in-memory backend."""

from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores.memory.store import InMemoryVectorStore

__all__ = ["FullTextOptions", "InMemoryVectorStore"]
