"""What every embedding provider promises."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from ragbridge.documents import TextChunk
from ragbridge.embeddings import (
    BinaryVector,
    Embedding,
    EmbeddingProvider,
    as_embedding,
    compared_part,
    sparse_part,
)

__all__ = ["EmbeddingProviderTests"]

_TEXTS = (
    "Green tea is brewed at eighty degrees.",
    "A gravel bike rolls over rough roads.",
    "Espresso",
    "naïve café \U0001f44d שלום\nline two",
)


class EmbeddingProviderTests:
    """Give it a fixture `embedding_provider`.

    Attributes:
        TOLERANCE: By how much embeddings of the same text may differ from call to call.
    """

    TOLERANCE: ClassVar[float] = 1e-5

    @pytest.fixture
    def embedding_provider(self) -> EmbeddingProvider:
        """The provider under test, made by the subclass."""
        raise NotImplementedError(f"{type(self).__name__} must have a fixture `embedding_provider`")

    def test_one_embedding_for_each_chunk(self, embedding_provider: EmbeddingProvider) -> None:
        made = embedding_provider.batch_embed(_chunks(_TEXTS))
        assert len(made) == len(_TEXTS)
        self._assert_fit_for_one_store(made)

    def test_one_embedding_for_each_query(self, embedding_provider: EmbeddingProvider) -> None:
        made = embedding_provider.batch_embed_queries(_TEXTS)
        assert len(made) == len(_TEXTS)
        self._assert_fit_for_one_store(
            [*made, *embedding_provider.batch_embed(_chunks(_TEXTS[:1]))]
        )

    def test_nothing_in_nothing_out(self, embedding_provider: EmbeddingProvider) -> None:
        assert embedding_provider.batch_embed([]) == []
        assert embedding_provider.batch_embed_queries([]) == []

    def test_a_batch_is_in_order(self, embedding_provider: EmbeddingProvider) -> None:
        self._assert_alike(
            embedding_provider.batch_embed(_chunks(_TEXTS)),
            [embedding_provider.embed(chunk) for chunk in _chunks(_TEXTS)],
        )
        self._assert_alike(
            embedding_provider.batch_embed_queries(_TEXTS),
            [embedding_provider.embed_query(text) for text in _TEXTS],
        )

    def test_other_texts_have_other_embeddings(self, embedding_provider: EmbeddingProvider) -> None:
        one, other = embedding_provider.batch_embed(_chunks(_TEXTS[:2]))
        assert not self._alike(one, other)

    def test_async_twins_do_the_same(self, embedding_provider: EmbeddingProvider) -> None:
        provider, chunks = embedding_provider, _chunks(_TEXTS)

        async def make() -> tuple[list[Embedding], list[Embedding]]:
            one_by_one = await provider.aembed(chunks[0]), await provider.aembed_query(_TEXTS[0])
            batches = (
                await provider.abatch_embed(chunks),
                await provider.abatch_embed_queries(_TEXTS),
            )
            return [*batches[0], one_by_one[0]], [*batches[1], one_by_one[1]]

        documents, queries = asyncio.run(make())
        self._assert_alike(documents, provider.batch_embed([*chunks, chunks[0]]))
        self._assert_alike(queries, provider.batch_embed_queries([*_TEXTS, _TEXTS[0]]))

    def test_event_loops_in_turn(self, embedding_provider: EmbeddingProvider) -> None:
        first = asyncio.run(embedding_provider.aembed_query(_TEXTS[0]))
        self._assert_alike([first], [asyncio.run(embedding_provider.aembed_query(_TEXTS[0]))])

    def _assert_fit_for_one_store(self, made: Sequence[Embedding]) -> None:
        """Stores want the same vectors of every row, and as many numbers in each dense one."""
        kinds = {
            (type(as_embedding(each)), None if (part := compared_part(each)) is None else len(part))
            for each in made
        }
        assert len(kinds) == 1, f"embeddings of several kinds or dimensions: {kinds}"

    def _assert_alike(self, got: Sequence[Embedding], wanted: Sequence[Embedding]) -> None:
        assert len(got) == len(wanted)
        for position, (one, other) in enumerate(zip(got, wanted, strict=True)):
            assert self._alike(one, other), f"embedding {position} is not that of its text"

    def _alike(self, one: Embedding, other: Embedding) -> bool:
        ours, theirs = _numbers(one), _numbers(other)
        return len(ours) == len(theirs) and np.allclose(
            ours, theirs, rtol=self.TOLERANCE, atol=self.TOLERANCE
        )


def _chunks(texts: Sequence[str]) -> list[TextChunk]:
    return [TextChunk(content=text) for text in texts]


def _numbers(embedding: Embedding) -> list[float]:
    """All that an embedding holds, one after the other."""
    compared, sparse = compared_part(embedding), sparse_part(embedding)
    bits = compared.packed if isinstance(compared, BinaryVector) else compared
    numbers = [] if bits is None else bits.tolist()
    pairs = {} if sparse is None else sparse.to_dict()
    return [float(number) for number in [*numbers, *pairs, *pairs.values()]]
