"""Full-text search: BM25 by bm25s, over the texts of one state of a table."""

import threading
from typing import Any

import numpy as np

from ragbridge.errors import missing_dependency
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores._scoring import Exact
from ragbridge.stores.memory._arrays import Slots
from ragbridge.stores.memory.table import State


class TextSearch:
    """Scores texts, by an index that is made anew at the first search after a write."""

    def __init__(self, options: FullTextOptions) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._latest: _TextIndex | None = None

    def scores(self, text: str, state: State) -> tuple[Slots, Exact]:
        """The rows that share a term with `text`, and their scores.

        Raises:
            MissingDependencyError: bm25s is not installed.
        """
        return self._index_of(state).scores(text)

    def _index_of(self, state: State) -> "_TextIndex":
        with self._lock:
            latest = self._latest
            if latest and latest.version == state.version:
                return latest
            made = _TextIndex(self.options, state)
            if not latest or latest.version < made.version:
                self._latest = made
            return made


class _TextIndex:
    """The index of every live row of a state whose content is a text with terms in it."""

    def __init__(self, options: FullTextOptions, state: State) -> None:
        self.version = state.version
        self._options = options
        contents = state.table.rows.contents
        alive = np.flatnonzero(state.alive[: state.size]).tolist()
        terms = {
            slot: found
            for slot in alive
            if isinstance(contents[slot], str) and (found := options.tokenize(contents[slot]))
        }
        self._slots: Slots = np.array(list(terms), np.intp)
        self._bm25 = _make_bm25(options, list(terms.values()))

    def scores(self, text: str) -> tuple[Slots, Exact]:
        known = [term for term in self._options.tokenize(text) if term in self._bm25.vocab_dict]
        if not known:
            return self._slots[:0], np.empty(0)
        scores = self._bm25.get_scores(known)
        found = np.flatnonzero(scores > 0)
        return self._slots[found], scores[found].astype(np.float64)


def _make_bm25(options: FullTextOptions, texts: list[list[str]]) -> Any:
    try:
        from bm25s import BM25
    except ImportError as error:
        raise missing_dependency("bm25s", "text") from error
    bm25 = BM25(method="lucene", k1=options.k1, b=options.b)
    if texts:
        bm25.index(texts, create_empty_token=False, show_progress=False)
    else:
        bm25.vocab_dict = {}
    return bm25
