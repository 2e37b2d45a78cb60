"""LlamaIndex, both ways: the core's objects as LlamaIndex's, and LlamaIndex's as the core's."""

from ragbridge import errors as _errors

try:
    import llama_index.core as _  # noqa: F401 - what everything here is about
except ImportError as error:
    raise _errors.missing_dependency("llama-index-core", "llama-index") from error

from ragbridge.llama_index.chat import LlamaIndexModelProvider, RagbridgeLLM
from ragbridge.llama_index.documents import from_llama_index_node, to_llama_index_node
from ragbridge.llama_index.embeddings import LlamaIndexEmbeddingProvider, RagbridgeEmbedding
from ragbridge.llama_index.filters import from_llama_index_filters, to_llama_index_filters
from ragbridge.llama_index.retrievers import LlamaIndexRetriever, RagbridgeRetriever
from ragbridge.llama_index.vector_store import RagbridgeVectorStore
from ragbridge.llama_index.wrapped_store import LlamaIndexVectorStore

__all__ = [
    "LlamaIndexEmbeddingProvider",
    "LlamaIndexModelProvider",
    "LlamaIndexRetriever",
    "LlamaIndexVectorStore",
    "RagbridgeEmbedding",
    "RagbridgeLLM",
    "RagbridgeRetriever",
    "RagbridgeVectorStore",
    "from_llama_index_filters",
    "from_llama_index_node",
    "to_llama_index_filters",
    "to_llama_index_node",
]
