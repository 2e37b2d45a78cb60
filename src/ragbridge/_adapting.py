"""What the adapters for LangChain and for LlamaIndex share."""

from collections.abc import Sequence
from typing import Any

from ragbridge.embeddings import EmbeddingLike, as_embedding, dense_part
from ragbridge.errors import InvalidConfigError, InvalidQueryError
from ragbridge.stores import create_vector_store
from ragbridge.stores.base import VectorMatch, VectorStore, maximal_marginal_relevance


def as_vector_store(source: object = None, **options: Any) -> VectorStore:
    """The store that a caller means.

    Args:
        source: A store, which is taken as it is; an address (a path for Milvus Lite, or a server's
            URI); a `MilvusConfig`; or None for a new store in memory.
        options: Arguments for making the store.

    Raises:
        InvalidConfigError: there are options for a store that is made already, or the store refuses
            the source or an option.
        MissingDependencyError: the store's extra is not installed.
    """
    if isinstance(source, VectorStore):
        if options:
            raise InvalidConfigError(
                f"{', '.join(options)} can only be given where the store is made, but the store is "
                f"a {type(source).__name__} already"
            )
        return source
    if source is None:
        return create_vector_store("memory", **options)
    name = "uri" if isinstance(source, str) else "config"
    return create_vector_store("milvus", **{name: source}, **options)


def diverse(
    matches: Sequence[VectorMatch], query: EmbeddingLike, *, top_k: int, lambda_mult: float
) -> list[VectorMatch]:
    """`top_k` of `matches`, like the query and unlike one another; their scores stay as they are.

    See `maximal_marginal_relevance`.

    Args:
        matches: What a store found, with dense embeddings.
        query: The dense vector that was asked for.
        top_k: How many to choose.
        lambda_mult: 1.0 weighs only likeness to the query, 0.0 only difference from those chosen.

    Raises:
        InvalidQueryError: an argument is out of range, or there is no dense vector to compare.
    """
    wanted = dense_part(as_embedding(query))
    vectors = [dense_part(match.embedding) for match in matches]
    if wanted is None or any(vector is None for vector in vectors):
        raise InvalidQueryError("maximal marginal relevance compares dense vectors only")
    return [
        matches[position]
        for position in maximal_marginal_relevance(wanted, vectors, top_k, lambda_mult)
    ]
