"""The searches of `RagbridgeVectorStore`, each described once for its sync and its async method."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ragbridge._adapting import diverse
from ragbridge._twins import Step, Work
from ragbridge.embeddings import EmbeddingLike, EmbeddingProvider, dense_part
from ragbridge.errors import InvalidQueryError, UnsupportedQueryError, shorten
from ragbridge.langchain._arguments import (
    SearchArguments,
    check_k,
    check_lambda_mult,
    check_score_threshold,
)
from ragbridge.retrievers import SearchMode, VectorRetriever, resolve_mode
from ragbridge.stores.base import Leg, Ranker, VectorMatch, VectorStore, VectorStoreQuery

DEFAULT_K: Final = 4
DEFAULT_FETCH_K: Final = 20
DEFAULT_LAMBDA: Final = 0.5
_OF_ANY_RETRIEVER: Final = {"filter"}
_SEARCH_TYPES: Final = ("similarity", "similarity_score_threshold", "mmr")


class Searches:
    """What can be asked of a core store by text and by vector.

    Args:
        store: The store.
        provider: Embeds the queries; None: searches by text are full text.
        mode: How to search by text, if a call does not say it.
        ranker: Fuses the legs, if a call does not say it.
    """

    def __init__(
        self,
        store: VectorStore,
        provider: EmbeddingProvider | None,
        mode: SearchMode | None,
        ranker: Ranker,
    ) -> None:
        self.store = store
        self.provider = provider
        self.mode = mode
        self.ranker = ranker
        self._own_arguments = SearchArguments.of_text({}, mode, ranker)
        self._is_asked = False  # what the store can serve
        self._usual: VectorRetriever | None = None

    def retriever(self) -> VectorRetriever:
        """The core's retriever that searches in the same way."""
        return self._make_retriever(self._own_arguments)

    def of_type(
        self, queries: list[str], search_type: str, given: Mapping[str, Any]
    ) -> Work[list[list[VectorMatch]]]:
        """The search that LangChain calls by this name, for many queries.

        Raises:
            InvalidQueryError: another name.
        """
        arguments = dict(given)
        k = arguments.pop("k", DEFAULT_K)
        if check_search_type(search_type) == "similarity":
            return self.similar(queries, k, arguments)
        if search_type == "similarity_score_threshold":
            return self.relevant(queries, k, arguments)
        fetch_k = arguments.pop("fetch_k", DEFAULT_FETCH_K)
        lambda_mult = arguments.pop("lambda_mult", DEFAULT_LAMBDA)
        return self.diverse(queries, k, fetch_k, lambda_mult, arguments)

    def similar(
        self, queries: list[str], k: int, given: Mapping[str, Any]
    ) -> Work[list[list[VectorMatch]]]:
        """The best matches for each of many queries, with the core's scores."""
        return (yield from self._ask((yield from self._plan(queries, k, given))))

    def relevant(
        self, queries: list[str], k: int, given: Mapping[str, Any]
    ) -> Work[list[list[VectorMatch]]]:
        """As `similar`, with relevance instead of similarity scores."""
        arguments = dict(given)
        threshold = arguments.pop("score_threshold", None)
        least = 0.0 if threshold is None else check_score_threshold(threshold)
        requests = yield from self._plan(queries, k, arguments)
        for request in requests:
            if request.legs != (Leg.DENSE,):
                raise no_relevance(" and ".join(request.legs))
        found = yield from self._ask(requests)
        read_metric = partial(getattr, self.store, "metric")  # for which a store may ask its engine
        metric = yield from Step(read_metric, partial(asyncio.to_thread, read_metric))
        scored = [
            [
                replace(match, similarity_score=metric.relevance(match.similarity_score))
                for match in each
            ]
            for each in found
        ]
        return [[match for match in each if match.similarity_score >= least] for each in scored]

    def diverse(
        self,
        queries: list[str],
        k: int,
        fetch_k: int,
        lambda_mult: float,
        given: Mapping[str, Any],
    ) -> Work[list[list[VectorMatch]]]:
        """By maximal marginal relevance, for many queries; one search."""
        check_lambda_mult(lambda_mult)
        requests = yield from self._plan(queries, _to_fetch(k, fetch_k), given)
        return (yield from self._choose(requests, k, lambda_mult))

    def near(
        self, embedding: EmbeddingLike, k: int, given: Mapping[str, Any]
    ) -> Work[list[VectorMatch]]:
        """The best matches for a vector."""
        return (yield from self._ask([self._plan_near(embedding, check_k(k), given)]))[0]

    def diverse_near(
        self,
        embedding: EmbeddingLike,
        k: int,
        fetch_k: int,
        lambda_mult: float,
        given: Mapping[str, Any],
    ) -> Work[list[VectorMatch]]:
        """By maximal marginal relevance, for one vector."""
        check_lambda_mult(lambda_mult)
        request = self._plan_near(embedding, _to_fetch(k, fetch_k), given)
        return (yield from self._choose([request], k, lambda_mult))[0]

    def _choose(
        self, requests: list[VectorStoreQuery], k: int, lambda_mult: float
    ) -> Work[list[list[VectorMatch]]]:
        wanted = [dense_part(request.embedding) for request in requests]
        if any(vector is None for vector in wanted):
            raise UnsupportedQueryError(
                "maximal marginal relevance compares dense vectors, but the search is by "
                f"{' and '.join(requests[0].legs)}; use a model and a search_mode that have them"
            )
        found = yield from self._ask(
            [replace(request, include_embeddings=True) for request in requests]
        )
        return [
            diverse(matches, vector, top_k=check_k(k), lambda_mult=lambda_mult)
            for matches, vector in zip(found, wanted, strict=True)
            if vector is not None
        ]

    def _plan(
        self, queries: list[str], k: int, given: Mapping[str, Any]
    ) -> Work[list[VectorStoreQuery]]:
        top_k = check_k(k)
        arguments = self._own_arguments
        if given:
            arguments = SearchArguments.of_text(given, self.mode, self.ranker)
        is_usual = given.keys() <= _OF_ANY_RETRIEVER
        if is_usual and self._usual is not None:
            retriever = self._usual
        else:
            retriever = yield from self._retriever_for(arguments)
            self._usual = retriever if is_usual else self._usual
        return (yield from retriever.planning(queries, top_k, arguments.filters))

    def _retriever_for(self, arguments: SearchArguments) -> Work[VectorRetriever]:
        make = partial(self._make_retriever, arguments)
        if self._is_asked:
            return make()
        # The first look at what it can serve may wait for its engine.
        retriever = yield from Step(make, partial(asyncio.to_thread, make))
        self._is_asked = True
        return retriever

    def _make_retriever(self, arguments: SearchArguments) -> VectorRetriever:
        return VectorRetriever(
            self.store,
            self.provider,
            mode=resolve_mode(arguments.search_mode, self.provider, "search_mode"),
            ranker=arguments.ranker,
            leg_top_k=arguments.leg_top_k,
            min_score=arguments.min_score,
            options=arguments.options,
        )

    def _plan_near(
        self, embedding: EmbeddingLike, top_k: int, given: Mapping[str, Any]
    ) -> VectorStoreQuery:
        if embedding is None:
            raise InvalidQueryError("embedding must be a vector, not None")
        return SearchArguments.of_vector(given, self.ranker).query(embedding, top_k)

    def _ask(self, requests: list[VectorStoreQuery]) -> Work[list[list[VectorMatch]]]:
        return (yield from Step(self.store.query_many, self.store.aquery_many, requests))


def check_search_type(search_type: object) -> str:
    """`search_type` as one that LangChain knows.

    Raises:
        InvalidQueryError: another.
    """
    if search_type not in _SEARCH_TYPES:
        raise InvalidQueryError(
            f"search_type must be one of {', '.join(_SEARCH_TYPES)}, not {shorten(search_type)}"
        )
    return str(search_type)


def _to_fetch(k: int, fetch_k: int) -> int:
    return max(check_k(k), check_k(fetch_k, "fetch_k"))


def no_relevance(kind: str) -> UnsupportedQueryError:
    """The error for relevance scores of a search that is not by dense vectors alone."""
    return UnsupportedQueryError(
        f"relevance scores are for searches by dense vectors, not by {kind}, whose scores have no "
        "known range; use similarity_search_with_score, or search_mode='dense'"
    )
