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
    """Nodes as node parsers make them, ten of each document."""
    sources = [
        Document(
            id_=f"document-{row}", text=text_of(row), metadata=metadata_of(row)
        ).as_related_node_info()
        for row in range(0, len(vectors), 10)
    ]
    return [
        TextNode(
            id_=f"row-{row}",
            text=text_of(row),
            metadata=metadata_of(row),
            embedding=vector,
            relationships={NodeRelationship.SOURCE: sources[row // 10]},
        )
        for row, vector in enumerate(vectors)
    ]
