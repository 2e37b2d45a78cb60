"""The nodes that benchmarks of LlamaIndex's stores take in."""

from collections.abc import Sequence

import numpy as np
from llama_index.core.schema import Document, NodeRelationship, TextNode

from plain_milvus import DIMENSION, ROWS, metadata_of, text_of

__all__ = ["lists_of_vectors", "nodes_of"]


def lists_of_vectors() -> list[list[float]]:
    """Vectors as LlamaIndex has them: lists of floats."""
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIMENSION), dtype=np.float32)
    return vectors.tolist()


def nodes_of(vectors: Sequence[list[float]]) -> list[TextNode]:
    """Nodes as node parsers make them: each has its document's metadata, and knows its document."""
    return [_node(row, vector) for row, vector in enumerate(vectors)]


def _node(row: int, vector: list[float]) -> TextNode:
    document = Document(id_=f"document-{row}", text=text_of(row), metadata=metadata_of(row))
    return TextNode(
        id_=f"row-{row}",
        text=document.text,
        metadata={**document.metadata},
        embedding=vector,
        relationships={NodeRelationship.SOURCE: document.as_related_node_info()},
    )
