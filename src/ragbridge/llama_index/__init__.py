"""Adapters to and from LlamaIndex."""

from ragbridge.errors import missing_dependency

try:
    import llama_index.core  # noqa: F401 - whether it is there
except ImportError as error:
    raise missing_dependency("llama-index-core", "llama-index") from error

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
