"""The suite bites: retrievers and embedding providers with one fault each fail it."""

import numpy as np
import pytest

from ragbridge.embeddings import HashingEmbeddingProvider
from ragbridge.errors import InvalidQueryError
from ragbridge.knowledge_base import VectorKnowledgeBase
from ragbridge.retrievers import Retriever
from ragbridge.stores.memory import InMemoryVectorStore
from ragbridge.testing import EmbeddingProviderTests, RetrieverTests


def right_retriever():
    knowledge_base = VectorKnowledgeBase(
        InMemoryVectorStore(), HashingEmbeddingProvider(64), chunker=None
    )
    knowledge_base.ingest(RetrieverTests.CHUNKS)
    return knowledge_base


class Around(Retriever):
    def __init__(self):
        self.inner = right_retriever()

    def retrieve(self, query, top_k=10, filters=None):
        return self.inner.retrieve(query, top_k, filters)

    def retrieve_many(self, queries, top_k=10, filters=None):
        return self.inner.retrieve_many(queries, top_k, filters)


class WorstFirst(Around):
    def retrieve(self, query, top_k=10, filters=None):
        return super().retrieve(query, top_k, filters)[::-1]


class LosesMetadata(Around):
    def retrieve(self, query, top_k=10, filters=None):
        found = super().retrieve(query, top_k, filters)
        for match in found:
            match.chunk.metadata.clear()
        return found


class ReturnsOneMore(Around):
    def retrieve(self, query, top_k=10, filters=None):
        return super().retrieve(query, top_k + 1 if top_k > 0 else top_k, filters)


class IgnoresFilters(Around):
    def retrieve(self, query, top_k=10, filters=None):
        return super().retrieve(query, top_k)


class FiltersTheBest(Around):
    def retrieve(self, query, top_k=10, filters=None):
        wanted = {match.id for match in super().retrieve(query, -1, filters)}
        return [match for match in super().retrieve(query, top_k) if match.id in wanted]


class SortsTheQueries(Around):
    def retrieve_many(self, queries, top_k=10, filters=None):
        return super().retrieve_many(sorted(queries), top_k, filters)


class TakesAnyNumber(Around):
    def retrieve(self, query, top_k=10, filters=None):
        try:
            return super().retrieve(query, top_k, filters)
        except InvalidQueryError:
            return []


class SpellsAString(Around):
    def retrieve_many(self, queries, top_k=10, filters=None):
        return super().retrieve_many(list(queries), top_k, filters)


WRONG_RETRIEVERS = [
    (WorstFirst, "test_best_first", {}),
    (LosesMetadata, "test_matches_are_chunks_with_their_metadata", {}),
    (ReturnsOneMore, "test_no_more_than_asked_for", {"top_k": 2}),
    (IgnoresFilters, "test_filters_restrict", {"name": "not equal"}),
    (FiltersTheBest, "test_filters_restrict", {"name": "missing"}),
    (SortsTheQueries, "test_many_queries_are_answered_in_their_order", {}),
    (TakesAnyNumber, "test_a_wrong_top_k_is_refused", {"top_k": 0}),
    (TakesAnyNumber, "test_a_wrong_query_is_refused", {"query": ""}),
    (TakesAnyNumber, "test_wrong_filters_are_refused", {"filters": {"kind": "drink"}}),
    (SpellsAString, "test_a_single_string_is_no_list_of_queries", {}),
]


class LosesOne(HashingEmbeddingProvider):
    def batch_embed(self, chunks):
        return super().batch_embed(chunks)[: max(1, len(chunks) - 1)] if chunks else []


class OneForAll(HashingEmbeddingProvider):
    def batch_embed(self, chunks):
        return [np.ones(8, dtype=np.float32) for _ in chunks]


class Backwards(HashingEmbeddingProvider):
    def batch_embed(self, chunks):
        return super().batch_embed(chunks)[::-1]


class ShortQueries(HashingEmbeddingProvider):
    def batch_embed_queries(self, texts):
        return [vector[:5] for vector in super().batch_embed_queries(texts)]


class OtherAsync(HashingEmbeddingProvider):
    async def abatch_embed_queries(self, texts):
        return [2 * vector for vector in self.batch_embed_queries(texts)]


class NeedsOne(HashingEmbeddingProvider):
    def batch_embed(self, chunks):
        return [super().batch_embed(chunks)[0], *super().batch_embed(chunks)[1:]]


WRONG_PROVIDERS = [
    (LosesOne, "test_one_embedding_for_each_chunk"),
    (ShortQueries, "test_one_embedding_for_each_query"),
    (NeedsOne, "test_nothing_in_nothing_out"),
    (Backwards, "test_a_batch_is_in_order"),
    (OneForAll, "test_other_texts_have_other_embeddings"),
    (OtherAsync, "test_async_twins_do_the_same"),
]


@pytest.mark.parametrize(("wrong", "name", "arguments"), WRONG_RETRIEVERS)
def test_a_wrong_retriever_is_noticed(wrong, name, arguments):
    test = getattr(RetrieverTests(), name)
    test(right_retriever(), **arguments)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(wrong(), **arguments)


@pytest.mark.parametrize(("wrong", "name"), WRONG_PROVIDERS)
def test_a_wrong_provider_is_noticed(wrong, name):
    test = getattr(EmbeddingProviderTests(), name)
    test(HashingEmbeddingProvider(64))
    with pytest.raises((AssertionError, IndexError)):
        test(wrong(64))
