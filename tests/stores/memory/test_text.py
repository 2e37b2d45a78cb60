"""The full-text leg: BM25 by hand, an index that follows the rows, and what it needs."""

import sys
from math import log

import pytest

from memory_rows import entry
from ragbridge.documents import Chunk
from ragbridge.errors import MissingDependencyError
from ragbridge.filters import where
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.memory import FullTextOptions, InMemoryVectorStore, text

TEXTS = {
    "a": "red red fox",
    "b": "The red fox jumps over the lazy dogs",
    "c": "lazy dog",
    "d": "RED!",
    "e": "...",
}


def bm25(words, query, k1=1.2, b=0.75):
    """Lucene's formula: ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + k1 * (1 - b + b * l / mean))."""
    mean = sum(map(len, words.values())) / len(words)
    scores = {}
    for row_id, terms in words.items():
        for term in query:
            found = sum(term in others for others in words.values())
            often = terms.count(term)
            idf = log(1 + (len(words) - found + 0.5) / (found + 0.5))
            part = often / (often + k1 * (1 - b + b * len(terms) / mean))
            scores[row_id] = scores.get(row_id, 0) + idf * part
    return {row_id: score for row_id, score in scores.items() if score}


def store_of(texts, **options):
    store = InMemoryVectorStore(full_text=FullTextOptions(**options) if options else None)
    store.add([entry(row_id, text=text) for row_id, text in texts.items()])
    return store


def scores(store, query, **restrictions):
    matches = store.query(VectorStoreQuery(text=query, top_k=-1, **restrictions))
    return {match.id: match.similarity_score for match in matches}


def words_of(texts):
    words = {row_id: text.lower().replace("!", "").split() for row_id, text in texts.items()}
    return {row_id: terms for row_id, terms in words.items() if terms != ["..."]}


def test_scores_are_those_of_the_formula():
    found = scores(store_of(TEXTS), "red dog")
    assert found == pytest.approx(bm25(words_of(TEXTS), ["red", "dog"]))
    assert set(found) == {"a", "b", "c", "d"}
    assert list(found) == sorted(found, key=lambda row_id: -found[row_id])


def test_k1_and_b_are_those_of_the_options():
    store = store_of(TEXTS, k1=2.0, b=0.1)
    assert scores(store, "red") == pytest.approx(bm25(words_of(TEXTS), ["red"], k1=2.0, b=0.1))


def test_rows_without_the_words_are_no_hits():
    store = store_of(TEXTS)
    assert scores(store, "giraffe") == {}
    assert scores(store, "") == {}
    assert scores(store, "...") == {}
    assert set(scores(store, "giraffe lazy")) == {"b", "c"}


def test_stop_words_and_stems():
    store = store_of(TEXTS, stop_words="english", stemmer="english")
    assert scores(store, "the") == {}
    assert set(scores(store, "dog")) == {"b", "c"}
    assert set(scores(store, "jumping")) == {"b"}
    assert set(scores(store_of(TEXTS, stop_words=["Fox"]), "red fox")) == {"a", "b", "d"}
    assert scores(store_of(TEXTS, stop_words=["Fox"]), "fox") == {}


def test_equal_scores_are_ordered_by_id():
    store = store_of(dict.fromkeys("zxya", "same text"))
    assert list(scores(store, "text")) == ["a", "x", "y", "z"]
    assert [m.id for m in store.query(VectorStoreQuery(text="text", top_k=2))] == ["a", "x"]


def test_a_text_query_respects_restrictions():
    store = InMemoryVectorStore()
    store.add(
        [
            entry("a", text="red fox", metadata={"n": 1}, of="doc"),
            entry("b", text="red dog", metadata={"n": 2}),
            entry("c", text="red cat", deleted=True),
        ]
    )
    assert set(scores(store, "red")) == {"a", "b"}
    assert set(scores(store, "red", filters=where("n") == 2)) == {"b"}
    assert set(scores(store, "red", document_ids=["doc"])) == {"a"}
    assert set(scores(store, "red", ids=["b", "c"], include_deleted=True)) == {"b", "c"}
    assert scores(store, "red", min_score=100.0) == {}


def test_only_text_is_searched():
    store = InMemoryVectorStore()
    store.add(
        [
            VectorEntry(id="bytes", chunk=Chunk(content=b"red")),
            VectorEntry(id="json", chunk=Chunk(content=["red"])),
            VectorEntry(id="text", chunk=Chunk(content="red")),
        ]
    )
    assert set(scores(store, "red")) == {"text"}


def test_a_store_without_words_has_no_hits():
    assert scores(InMemoryVectorStore(), "red") == {}
    assert scores(store_of({"a": "...", "b": ""}), "red") == {}


def test_the_index_follows_every_write():
    store, texts = store_of(TEXTS), dict(TEXTS)
    for change in (
        {"c": "lazy cat"},
        {"f": "blue dog", "g": "red red red"},
        {"b": None, "g": None},
        {"a": "nothing"},
    ):
        for row_id, new in change.items():
            if new is None:
                store.delete(row_id)
                del texts[row_id]
            else:
                store.add([entry(row_id, text=new)])
                texts[row_id] = new
        assert scores(store, "red dog") == pytest.approx(bm25(words_of(texts), ["red", "dog"]))
    store.clear()
    assert scores(store, "red") == {}


def test_the_index_is_made_once_between_writes(monkeypatch):
    made = []
    original = text._make_bm25
    monkeypatch.setattr(text, "_make_bm25", lambda *a: made.append(1) or original(*a))
    store = store_of(TEXTS)
    assert made == [], "adding makes no index"
    for _ in range(3):
        store.query_many([VectorStoreQuery(text="red"), VectorStoreQuery(text="dog")])
    assert len(made) == 1
    store.add([entry("x", text="red")])
    store.query(VectorStoreQuery(top_k=1))
    assert len(made) == 1, "only a text query makes one"
    for _ in range(3):
        store.query(VectorStoreQuery(text="red"))
    assert len(made) == 2


def test_without_bm25s_only_the_leg_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    store = store_of(TEXTS)
    assert store.count() == len(TEXTS)
    with pytest.raises(MissingDependencyError, match=r"pip install 'ragbridge\[text\]'"):
        store.query(VectorStoreQuery(text="red"))
