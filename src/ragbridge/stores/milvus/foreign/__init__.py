"""Collections that other tools made, opened in place."""

from ragbridge.stores.milvus.foreign.layouts import CollectionLayout

__all__ = ["CollectionLayout"]
