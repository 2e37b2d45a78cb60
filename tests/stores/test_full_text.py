"""FullTextOptions: validation, and the terms of a text."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milvus_lite.analyzer.standard import StandardAnalyzer

from ragbridge.errors import InvalidConfigError, MissingDependencyError
from ragbridge.stores._full_text import FullTextOptions

PLAIN = FullTextOptions()

TERMS = {
    "": [],
    "Red fox": ["red", "fox"],
    "don't stop-me_now": ["don", "t", "stop", "me_now"],
    "ÄRGER über 3,5 %": ["ärger", "über", "3", "5"],
    "noise-cancelling\nWH-1000XM4": ["noise", "cancelling", "wh", "1000xm4"],
    "İstanbul": ["i", "stanbul"],  # lowercased first: a dot above that is no letter splits it
    "שלום 你好 👍": ["שלום", "你好"],
}


@pytest.mark.parametrize("text", TERMS)
def test_text_is_lowercased_and_split_at_words(text):
    assert PLAIN.tokenize(text) == TERMS[text]


@given(st.text())
def test_terms_are_those_of_milvus_lite(text):
    assert PLAIN.tokenize(text) == StandardAnalyzer().tokenize(text)


def test_stop_words_go_before_stems_are_taken():
    options = FullTextOptions(stop_words="english", stemmer="english")
    assert options.tokenize("The foxes are running with their dogs") == ["fox", "run", "dog"]
    assert FullTextOptions(stop_words=["running"], stemmer="english").tokenize("running runs") == [
        "run"
    ]
    assert FullTextOptions(stop_words={"THE"}).tokenize("The end") == ["end"]


def test_stemmers_of_other_languages():
    assert FullTextOptions(stemmer="german").tokenize("Katzen laufen") == ["katz", "lauf"]
    assert FullTextOptions(stemmer="porter").tokenize("relational") == ["relat"]


def test_options_are_values():
    assert FullTextOptions(stop_words=["a"]) == FullTextOptions(stop_words=("a",))
    assert hash(FullTextOptions(stop_words=["a"])) == hash(FullTextOptions(stop_words=("a",)))
    assert FullTextOptions(stop_words=["a", "B"]) == FullTextOptions(stop_words={"b", "a"})
    assert FullTextOptions(stop_words=["a"]) != FullTextOptions(stop_words=["b"])
    assert FullTextOptions(k1=1) != FullTextOptions()
    assert repr(PLAIN) == "FullTextOptions(stop_words=None, stemmer=None, k1=1.2, b=0.75)"


@pytest.mark.parametrize(
    "options",
    [PLAIN, FullTextOptions(stop_words="english", stemmer="porter", k1=0.9, b=0.4),
     FullTextOptions(stop_words={"the", "ein"})],
    ids=["plain", "all of them", "a set"],
)  # fmt: skip
def test_options_survive_json(options):
    assert FullTextOptions(**json.loads(json.dumps(options.to_dict()))) == options


@pytest.mark.parametrize(
    ("options", "is_plain"),
    [
        ({}, True),
        ({"stop_words": [], "k1": 2.0}, True),
        ({"stop_words": ["a"]}, False),
        ({"stemmer": "english"}, False),
    ],
)
def test_plain_options_leave_every_word_as_it_stands(options, is_plain):
    assert FullTextOptions(**options).is_plain is is_plain


WRONG = [
    {"stop_words": "french"},
    {"stop_words": 7},
    {"stop_words": ["a", 7]},
    {"stop_words": b"the"},
    {"stemmer": "klingon"},
    {"stemmer": 7},
    {"stemmer": ["english"]},
    {"k1": -0.1},
    {"k1": float("nan")},
    {"k1": float("inf")},
    {"k1": "1.2"},
    {"k1": True},
    {"b": 1.01},
    {"b": -1},
    {"b": None},
]


@pytest.mark.parametrize("options", WRONG, ids=str)
def test_wrong_options_are_refused_by_name(options):
    with pytest.raises(InvalidConfigError, match=next(iter(options))):
        FullTextOptions(**options)


@pytest.mark.parametrize(
    ("options", "module", "package"),
    [
        ({"stemmer": "english"}, "Stemmer", "PyStemmer"),
        ({"stop_words": "english"}, "bm25s.stopwords", "bm25s"),
    ],
)
def test_what_a_library_does_needs_the_library(monkeypatch, options, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"{package}.*ragbridge\[text\]"):
        FullTextOptions(**options)


def test_stemming_in_many_threads():
    options = FullTextOptions(stemmer="english")
    words = [f"{start}{middle}ing" for start in "bcdfgp" for middle in ("ann", "itt", "ump")]
    alone = [options.tokenize(word) for word in words]
    with ThreadPoolExecutor(8) as threads:
        results = threads.map(lambda _: [options.tokenize(word) for word in words], range(40))
        assert all(result == alone for result in results)
