"""Entries, matches and queries: what goes in and out of a store."""

import dataclasses
import pickle
from math import inf, nan

import numpy as np
import pytest

from ragbridge.documents import TextChunk
from ragbridge.embeddings import BinaryVector, HybridVector, SparseVector
from ragbridge.errors import InvalidInputError, InvalidQueryError
from ragbridge.filters import MetadataFilters, where
from ragbridge.stores.base import (
    Leg,
    RRFRanker,
    VectorEntry,
    VectorMatch,
    VectorStoreQuery,
)

CHUNK = TextChunk(content="words")


def test_an_entry_has_sensible_defaults():
    entry = VectorEntry(chunk=CHUNK)
    assert (entry.id, entry.embedding, entry.framework_data, entry.deleted) == (
        None,
        None,
        {},
        False,
    )
    assert VectorEntry(chunk=CHUNK, embedding=[1, 2]).embedding.dtype == np.float32


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("id", ""),
        ("id", 1),
        ("id", b"a"),
        ("id", "\ud800"),
        ("chunk", None),
        ("chunk", "words"),
        ("chunk", {"content": "words"}),
        ("embedding", []),
        ("embedding", [nan]),
        ("embedding", "vector"),
        ("embedding", [[1.0]]),
        ("framework_data", {"a": object()}),
        ("framework_data", {1: "a"}),
        ("framework_data", [1]),
        ("deleted", None),
        ("deleted", 1),
        ("deleted", "no"),
    ],
)
def test_an_entry_is_checked_by_field(field, wrong):
    with pytest.raises(InvalidInputError, match=field):
        VectorEntry(**{"chunk": CHUNK, field: wrong})


def test_entries_are_compared_by_value():
    def entry(**changes):
        return VectorEntry(
            **{
                "id": "a",
                "embedding": [1.0, 2.0],
                "chunk": TextChunk(content="words"),
                "framework_data": {"x": 1},
                **changes,
            }
        )

    assert entry() == entry()
    for changes in (
        {"id": "b"},
        {"embedding": [1.0, 3.0]},
        {"embedding": None},
        {"embedding": SparseVector([0, 1], [1.0, 2.0])},
        {"chunk": TextChunk(content="others")},
        {"framework_data": {}},
        {"deleted": True},
    ):
        assert entry() != entry(**changes)
    assert entry() != "something else"
    with pytest.raises(TypeError):
        hash(entry())


def test_a_match_is_an_entry_with_a_score():
    match = VectorMatch(chunk=CHUNK, id="a", similarity_score=np.float32(0.5))
    assert isinstance(match, VectorEntry)
    assert type(match.similarity_score) is float
    assert match == VectorMatch(chunk=CHUNK, id="a", similarity_score=0.5)
    assert match != VectorMatch(chunk=CHUNK, id="a", similarity_score=0.6)
    assert match != VectorEntry(chunk=CHUNK, id="a")
    assert VectorEntry(chunk=CHUNK, id="a") != match
    with pytest.raises(dataclasses.FrozenInstanceError):
        match.similarity_score = 1.0


@pytest.mark.parametrize(
    "value",
    [
        VectorEntry(id="a", chunk=CHUNK, embedding=[1.0], framework_data={"x": [1]}),
        VectorMatch(id="a", chunk=CHUNK, similarity_score=0.5),
    ],
)
def test_entries_are_pickled(value):
    assert pickle.loads(pickle.dumps(value)) == value
    changed = dataclasses.replace(value, id="b")
    assert (changed.id, type(changed)) == ("b", type(value))


def test_a_query_has_sensible_defaults():
    query = VectorStoreQuery()
    assert (query.top_k, query.ranker, query.legs) == (10, RRFRanker(60), ())
    assert not query.include_embeddings
    assert not query.include_deleted
    assert dict(query.options) == {}


@pytest.mark.parametrize(
    ("parts", "legs"),
    [
        ({}, []),
        ({"embedding": [1.0]}, [Leg.DENSE]),
        ({"embedding": SparseVector([1], [1.0])}, [Leg.SPARSE]),
        ({"embedding": BinaryVector(b"a")}, [Leg.DENSE]),
        ({"text": ""}, [Leg.FULL_TEXT]),
        ({"embedding": [1.0], "text": "a"}, [Leg.DENSE, Leg.FULL_TEXT]),
        (
            {"embedding": HybridVector([1.0], SparseVector([1], [1.0])), "text": "a"},
            [Leg.DENSE, Leg.SPARSE, Leg.FULL_TEXT],
        ),
    ],
)
def test_the_legs_of_a_query(parts, legs):
    assert list(VectorStoreQuery(**parts).legs) == legs


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("text", 1),
        ("text", b"a"),
        ("filters", {"a": 1}),
        ("filters", "a == 1"),
        ("filters", [where("a") == 1]),
        ("filters", where("a")),
        ("top_k", 0),
        ("top_k", -2),
        ("top_k", 1.0),
        ("top_k", "10"),
        ("top_k", None),
        ("top_k", True),
        ("ids", "a"),
        ("ids", b"a"),
        ("ids", 1),
        ("ids", [1]),
        ("ids", [None]),
        ("ids", [""]),
        ("ids", ["\ud800"]),
        ("ids", {"a": 1}),
        ("document_ids", "a"),
        ("document_ids", [2]),
        ("ranker", None),
        ("ranker", "rrf"),
        ("ranker", RRFRanker),
        ("leg_top_k", 5),
        ("leg_top_k", {"dense": 0}),
        ("leg_top_k", {"dense": "5"}),
        ("leg_top_k", {"vector": 5}),
        ("min_score", nan),
        ("min_score", inf),
        ("min_score", "0.5"),
        ("min_score", True),
        ("options", None),
        ("options", ["expr"]),
    ],
)
def test_a_query_is_checked_by_field(field, wrong):
    with pytest.raises(InvalidQueryError, match=field):
        VectorStoreQuery(**{field: wrong})


@pytest.mark.parametrize("wrong", [[], [nan], "vector", [[1.0]], {"dense": [1.0]}, [None]])
def test_a_query_vector_is_checked(wrong):
    with pytest.raises(InvalidInputError, match="embedding"):
        VectorStoreQuery(embedding=wrong)


def test_a_query_takes_what_is_close():
    query = VectorStoreQuery(
        embedding=[1, 2],
        filters=MetadataFilters(),
        top_k=np.int64(3),
        ids=iter(["b", "a", "b"]),
        document_ids={"d"},
        leg_top_k={"dense": 5, Leg.SPARSE: -1},
        min_score=1,
    )
    assert query.embedding.dtype == np.float32
    assert query.ids == ("b", "a")
    assert query.document_ids == ("d",)
    assert query.leg_top_k == {Leg.DENSE: 5, Leg.SPARSE: -1}
    assert dataclasses.replace(query, top_k=-1).ids == ("b", "a")


def test_a_query_may_ask_the_same_about_something_else():
    query = VectorStoreQuery(embedding=[1.0, 2.0], top_k=3, min_score=0.5, include_deleted=True)
    other = query.asking(embedding=None, text="tea", top_k=7)
    assert other.legs == (Leg.FULL_TEXT,)
    assert (other.embedding, other.text, other.top_k) == (None, "tea", 7)
    assert (other.min_score, other.include_deleted, other.options) == (0.5, True, {})
    assert (query.legs, query.text, query.top_k) == ((Leg.DENSE,), None, 3)
