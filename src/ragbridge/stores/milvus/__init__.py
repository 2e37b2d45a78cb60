"""Rows in Milvus: in a Milvus Lite file, on a server, or on Zilliz Cloud."""

from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores.milvus.config import MilvusConfig
from ragbridge.stores.milvus.foreign import CollectionLayout
from ragbridge.stores.milvus.store import MilvusVectorStore

__all__ = ["CollectionLayout", "FullTextOptions", "MilvusConfig", "MilvusVectorStore"]
