"""What every retriever promises."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import ClassVar, cast

import pytest

from ragbridge.documents import Chunk, JsonValue, TextChunk
from ragbridge.errors import InvalidQueryError
from ragbridge.filters import Filter, matches, where
from ragbridge.retrievers import QueryMatch, Retriever

__all__ = ["RetrieverTests"]

_QUERY = "green tea at eighty degrees"
_FILTERS = {
    "equal": where("kind") == "drink",
    "not equal": where("kind") != "drink",
    "ordered": where("year") >= 2020,
    "missing": ~where("year").exists(),
    "several": (where("kind") == "drink")
    & ((where("year") < 2020) | where("tags").contains("hot")),
    "none": where("kind").in_([]),
    "everything": where("kind").not_in(["nothing"]),
}


def _chunk(text: str, **metadata: JsonValue) -> TextChunk:
    name = text.split()[1]
    return TextChunk(id=name, document_id=name, content=text, metadata=metadata)


class RetrieverTests:
    """Give it a fixture `retriever` that finds the chunks of `CHUNKS`, all of them if asked for.

    Attributes:
        CHUNKS: What the retriever is over; the query "green tea at eighty degrees" finds the first
            one first.
    """

    CHUNKS: ClassVar[Sequence[Chunk]] = (
        _chunk(
            "Green tea is brewed at eighty degrees.", kind="drink", year=2024, tags=["hot", "green"]
        ),
        _chunk("Espresso is brewed under pressure.", kind="drink", year=2019),
        _chunk("Cold green juice of celery.", kind="drink"),
        _chunk("Sourdough bread rises at eighty percent of hydration.", kind="food"),
        _chunk("A gravel bike rolls over rough roads.", year=2020),
    )

    @pytest.fixture
    def retriever(self) -> Retriever:
        """The retriever under test, made by the subclass."""
        raise NotImplementedError(f"{type(self).__name__} must have a fixture `retriever`")

    @pytest.fixture(params=["sync", "async"])
    def asked(self, retriever: Retriever, request: pytest.FixtureRequest) -> Iterator[Retriever]:
        """The retriever under test as the tests call it."""
        if cast("str", request.param) == "sync":
            yield retriever
            return
        with asyncio.Runner() as runner:
            yield _ThroughAsync(retriever, runner)

    def test_best_first(self, asked: Retriever) -> None:
        found = asked.retrieve(_QUERY, top_k=3)
        scores = [match.similarity_score for match in found]
        assert found[0].chunk.content == self.CHUNKS[0].content
        assert scores == sorted(scores, reverse=True)

    def test_matches_are_chunks_with_their_metadata(self, asked: Retriever) -> None:
        rows = {chunk.content: chunk.metadata for chunk in self.CHUNKS}
        for match in asked.retrieve(_QUERY, top_k=-1):
            assert isinstance(match, QueryMatch)
            assert match.chunk.metadata == rows[match.chunk.content]

    @pytest.mark.parametrize("top_k", [1, 2, 100])
    def test_no_more_than_asked_for(self, asked: Retriever, top_k: int) -> None:
        everything = _contents(asked.retrieve(_QUERY, top_k=-1))
        found = _contents(asked.retrieve(_QUERY, top_k=top_k))
        assert len(found) == min(top_k, len(everything))
        assert len(set(everything)) == len(everything)

    @pytest.mark.parametrize("name", _FILTERS)
    def test_filters_restrict(self, asked: Retriever, name: str) -> None:
        condition = _FILTERS[name]
        everything = asked.retrieve(_QUERY, top_k=-1)
        wanted = {m.chunk.content for m in everything if matches(condition, m.chunk.metadata)}
        assert set(_contents(asked.retrieve(_QUERY, -1, condition))) == wanted
        assert len(asked.retrieve(_QUERY, 1, condition)) == min(1, len(wanted))

    def test_many_queries_are_answered_in_their_order(self, asked: Retriever) -> None:
        queries = [_QUERY, "gravel bike", _QUERY]
        condition = where("kind") != "food"
        found = asked.retrieve_many(queries, 2, condition)
        assert [_contents(each) for each in found] == [
            _contents(asked.retrieve(query, 2, condition)) for query in queries
        ]
        assert asked.retrieve_many([], 2) == []

    @pytest.mark.parametrize("top_k", [0, -2, 1.5, "3", True, None])
    def test_a_wrong_top_k_is_refused(self, asked: Retriever, top_k: int) -> None:
        with pytest.raises(InvalidQueryError, match="top_k"):
            asked.retrieve(_QUERY, top_k=top_k)

    @pytest.mark.parametrize("query", ["", " \n", None, 3, ["tea"]])
    def test_a_wrong_query_is_refused(self, asked: Retriever, query: str) -> None:
        with pytest.raises(InvalidQueryError, match="query"):
            asked.retrieve(query)

    @pytest.mark.parametrize("filters", [{"kind": "drink"}, "kind == 'drink'", [], 3])
    def test_wrong_filters_are_refused(self, asked: Retriever, filters: Filter) -> None:
        with pytest.raises(InvalidQueryError, match="filters"):
            asked.retrieve(_QUERY, 3, filters)

    def test_a_single_string_is_no_list_of_queries(self, asked: Retriever) -> None:
        with pytest.raises(InvalidQueryError, match="queries"):
            asked.retrieve_many(_QUERY)

    def test_event_loops_in_turn(self, retriever: Retriever) -> None:
        first = asyncio.run(retriever.aretrieve(_QUERY))
        assert _contents(asyncio.run(retriever.aretrieve(_QUERY))) == _contents(first)


class _ThroughAsync(Retriever):
    """A retriever whose sync methods await the async twins of another one."""

    def __init__(self, inner: Retriever, runner: asyncio.Runner) -> None:
        self._inner = inner
        self._runner = runner

    def retrieve(
        self, query: str, top_k: int = 10, filters: Filter | None = None
    ) -> list[QueryMatch]:
        return self._runner.run(self._inner.aretrieve(query, top_k, filters))

    def retrieve_many(
        self, queries: Sequence[str], top_k: int = 10, filters: Filter | None = None
    ) -> list[list[QueryMatch]]:
        return self._runner.run(self._inner.aretrieve_many(queries, top_k, filters))


def _contents(found: Sequence[QueryMatch]) -> list[str]:
    return [match.chunk.content for match in found]
