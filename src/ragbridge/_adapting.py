"""What the adapters for LangChain and for LlamaIndex share."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from ragbridge.documents import Chunk
from ragbridge.embeddings import EmbeddingLike, as_embedding, dense_part
from ragbridge.errors import InvalidConfigError, InvalidDocumentError, InvalidQueryError
from ragbridge.stores import create_vector_store
from ragbridge.stores.base import VectorMatch, VectorStore, maximal_marginal_relevance


def as_vector_store(source: object = None, **options: Any) -> VectorStore:
    """The store that a caller means.

    Args:
        source: A store, which is taken as it is; an address (a path for Milvus Lite, or a server's
            URI); a `MilvusConfig`; or None for a new store in memory.
        options: Arguments for making the store; `uri` and `config` say as well what `source` says.

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
    if source is not None:
        options["uri" if isinstance(source, str | PathLike) else "config"] = source
    made_there = options.keys() & {"uri", "config"}
    return create_vector_store("milvus" if made_there else "memory", **options)


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


def texts_of(chunks: Sequence[Chunk], taker: str) -> list[str]:
    """The contents of chunks for a `taker` of texts.

    Raises:
        InvalidDocumentError: a chunk's content is no text.
    """
    for chunk in chunks:
        if not isinstance(chunk.content, str):
            raise InvalidDocumentError(
                f"{taker} take texts only, but a chunk of type {chunk.type!r} holds "
                f"{type(chunk.content).__name__}"
            )
    return [chunk.content for chunk in chunks]
