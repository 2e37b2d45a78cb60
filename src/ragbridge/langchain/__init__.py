"""LangChain, both ways: the core's objects as LangChain's, and LangChain's as the core's."""

from ragbridge import errors as _errors

try:
    import langchain_core as _  # noqa: F401 - what everything here is about
except ImportError as error:
    raise _errors.missing_dependency("langchain-core", "langchain") from error

from ragbridge.langchain.chat import LangChainModelProvider, RagbridgeChatModel
from ragbridge.langchain.documents import from_langchain_document, to_langchain_document
from ragbridge.langchain.embeddings import LangChainEmbeddingProvider, RagbridgeEmbeddings
from ragbridge.langchain.filters import from_langchain_filter, to_langchain_filter
from ragbridge.langchain.retrievers import LangChainRetriever, RagbridgeRetriever
from ragbridge.langchain.structured_query import RagbridgeTranslator
from ragbridge.langchain.vector_store import RagbridgeVectorStore, RagbridgeVectorStoreRetriever
from ragbridge.langchain.wrapped_store import LangChainVectorStore

__all__ = [
    "LangChainEmbeddingProvider",
    "LangChainModelProvider",
    "LangChainRetriever",
    "LangChainVectorStore",
    "RagbridgeChatModel",
    "RagbridgeEmbeddings",
    "RagbridgeRetriever",
    "RagbridgeTranslator",
    "RagbridgeVectorStore",
    "RagbridgeVectorStoreRetriever",
    "from_langchain_document",
    "from_langchain_filter",
    "to_langchain_document",
    "to_langchain_filter",
]
