"""How text becomes the terms that full-text search compares: one analysis for every store."""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, Final, Literal

from ragbridge.errors import InvalidConfigError, missing_dependency, shorten

__all__ = ["FullTextOptions"]

_WORDS: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class FullTextOptions:
    r"""How full-text search splits, drops, stems and weighs words.

    Text is lowercased and split at `\w+`, as Milvus' standard analyzer does; then stop words are
    dropped, and what is left is stemmed.

    Attributes:
        stop_words: Words that are left out: None for none, `"english"` for the longer of the lists
            that bm25s brings, or words of your own (compared in lower case).
        stemmer: None, or an algorithm of PyStemmer: `"english"`, `"porter"`, `"german"`, ...
        k1: BM25: how fast a repeated word stops adding to the score; at least 0.
        b: BM25: how much long texts are marked down, from 0 (not at all) to 1.

    Raises:
        InvalidConfigError: an option has no meaning; the message names it.
        MissingDependencyError: a stemmer or the English stop words need the extra `text`.
    """

    stop_words: Literal["english"] | Sequence[str] | None = field(default=None, compare=False)
    stemmer: str | None = None
    k1: float = 1.2
    b: float = 0.75
    _dropped: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "stop_words", _check_stop_words(self.stop_words))
        put(self, "_dropped", _dropped_words(self.stop_words))
        if self.stemmer is not None:
            _check_stemmer(self.stemmer)
        put(self, "k1", _check_number(self.k1, "k1", float("inf")))
        put(self, "b", _check_number(self.b, "b", 1.0))

    @property
    def is_plain(self) -> bool:
        """Whether every word is a term as it stands."""
        return not self._dropped and self.stemmer is None

    def to_dict(self) -> dict[str, Any]:
        """The options by name, as JSON can hold them."""
        return {option.name: getattr(self, option.name) for option in fields(self) if option.init}

    def tokenize(self, text: str) -> list[str]:
        """The terms of `text`, in order, repeats included."""
        terms = _WORDS.findall(text.lower())
        if self._dropped:
            terms = [term for term in terms if term not in self._dropped]
        return terms if self.stemmer is None else _stem(self.stemmer)(terms)


def _check_stop_words(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value == "english"):
        return value
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise InvalidConfigError(
            f"stop_words must be None, 'english' or a list of words, not {shorten(value)}"
        )
    words = tuple(value)
    for word in words:
        if not isinstance(word, str):
            raise InvalidConfigError(f"stop_words must hold strings, not {shorten(word)}")
    return words


def _dropped_words(stop_words: Literal["english"] | Sequence[str] | None) -> frozenset[str]:
    if stop_words != "english":
        return frozenset(word.lower() for word in stop_words or ())
    try:
        from bm25s.stopwords import STOPWORDS_EN_PLUS
    except ImportError as error:
        raise missing_dependency("bm25s", "text") from error
    return frozenset(STOPWORDS_EN_PLUS)


def _check_stemmer(algorithm: object) -> None:
    known = _import_stemmer().algorithms()
    if algorithm not in known:
        raise InvalidConfigError(
            f"stemmer must be None or one of {', '.join(known)}, not {shorten(algorithm)}"
        )


def _check_number(value: Any, name: str, most: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not isfinite(value) or not 0 <= value <= most:
        upper = "" if most == float("inf") else f" and at most {most:g}"
        raise InvalidConfigError(
            f"{name} must be a number of at least 0{upper}, not {shorten(value)}"
        )
    return float(value)


class _Stemmers(threading.local):
    """The stemmers that one thread has made: PyStemmer's may not be shared between threads."""

    def __init__(self) -> None:
        self.made: dict[str, Callable[[list[str]], list[str]]] = {}


_stemmers: Final = _Stemmers()


def _stem(algorithm: str) -> Callable[[list[str]], list[str]]:
    if algorithm not in _stemmers.made:
        _stemmers.made[algorithm] = _import_stemmer().Stemmer(algorithm).stemWords
    return _stemmers.made[algorithm]


def _import_stemmer() -> Any:
    try:
        import Stemmer
    except ImportError as error:
        raise missing_dependency("PyStemmer", "text") from error
    return Stemmer
