"""Several stores, driven with the same random calls, agree step by step."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ragbridge.documents import TextChunk
from ragbridge.embeddings import EmbeddingLike, HybridVector, SparseVector
from ragbridge.filters import Filter
from ragbridge.stores.base import (
    Capability,
    RRFRanker,
    SimilarityMetric,
    VectorEntry,
    VectorMatch,
    VectorStore,
    VectorStoreQuery,
    WeightedRanker,
)
from ragbridge.testing._reference import ReferenceVectorStore
from ragbridge.testing._strategies import filters, metadata
from ragbridge.testing._suite.samples import (
    NASTY_TEXTS,
    assert_ranked,
    assert_same_rows,
    ids_of,
    stored_rows,
)
from ragbridge.testing._suite.through_async import ThroughAsync

__all__ = ["CongruenceMachine", "Subject"]

# Few, so that rows are replaced, found and removed by one another's steps.
_IDS = ("1", "2", "3", "4", "5", "6", "7", "8", "a b", "naïve", *NASTY_TEXTS[:6])
_DOCUMENTS = ("one", "two", 'th"ree', "vier\\")
_WORDS = ("red", "green", "blue", "Blue", "naïve", "x1", "wörter", "42")
_MARGIN = 1e-4  # how near to `min_score` a score may lie on either side

_ids = st.sampled_from(_IDS) | st.text(min_size=1, max_size=4)
_texts = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=6).map(" ".join)
_numbers = st.integers(-3, 3).map(float) | st.floats(-4, 4, width=32).filter(lambda x: abs(x) > 0.1)
_dense = st.lists(_numbers, min_size=4, max_size=4).filter(any)
_sparse = st.dictionaries(
    st.integers(0, 5), st.floats(0.25, 4, width=32), min_size=1, max_size=4
).map(SparseVector.from_dict)
_restrictions = st.none() | st.lists(st.sampled_from(_IDS), max_size=8)
_document_ids = st.none() | st.lists(st.sampled_from(_DOCUMENTS), max_size=3)


def _some_rows(*, min_size: int = 0, max_size: int) -> st.SearchStrategy[list[VectorEntry]]:
    return st.lists(
        st.runner().flatmap(lambda machine: machine.entries()), min_size=min_size, max_size=max_size
    )


class Subject(Protocol):
    """A store under test, and how it is closed and opened again.

    Attributes:
        name: For messages.
        store: The store; another one after `reopen`.
    """

    name: str
    store: VectorStore

    def reopen(self) -> None:
        """Close the store, and put one with the same rows in its place."""


class CongruenceMachine(RuleBasedStateMachine):
    """Drives stores and the brute-force reference with the same calls, and compares every answer.

    Subclass it, and run it with `hypothesis.stateful.run_state_machine_as_test`:

    ```python
    class Machine(CongruenceMachine):
        def open_subjects(self):
            return [MySubject()]
    ```

    Dense searches agree in ids and order up to ties, with scores within 1e-4 relatively or 1e-5
    absolutely; full-text and rank-fused ones in the set of hits; counts, listings and rows exactly.
    Calls go through sync methods and async twins in turns.

    Attributes:
        metric: Of all the stores.
        sparse: Whether rows have sparse vectors beside the dense ones.
        done: How many calls of each kind were compared, and with how many filters, over all the
            runs of the class.
    """

    metric: ClassVar[SimilarityMetric] = SimilarityMetric.COSINE
    sparse: ClassVar[bool] = False
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.reference = ReferenceVectorStore(metric=self.metric)
        self.subjects = list(self.open_subjects())
        self._twins: dict[str, ThroughAsync] = {}
        for subject in self.subjects:
            subject.store.clear()

    @abstractmethod
    def open_subjects(self) -> Iterable[Subject]:
        """The stores to compare; they are cleared first."""

    def entries(self) -> st.SearchStrategy[VectorEntry]:
        """The rows that are put in."""
        chunks = st.builds(
            TextChunk,
            content=_texts,
            metadata=metadata(),
            document_id=st.none() | st.sampled_from(_DOCUMENTS),
            index=st.none() | st.integers(0, 9),
        )
        return st.builds(
            VectorEntry,
            id=_ids,
            embedding=self.embeddings(),
            chunk=chunks,
            framework_data=metadata(),
            deleted=st.integers(0, 5).map(lambda n: n == 0),
        )

    def embeddings(self) -> st.SearchStrategy[Any]:
        """The vectors of rows and of queries that use all of them."""
        return st.builds(HybridVector, _dense, _sparse) if self.sparse else _dense

    @initialize(rows=_some_rows(min_size=4, max_size=12))
    def begin_with(self, rows: list[VectorEntry]) -> None:
        """There are rows from the first step on."""
        self.add(rows, False)

    @rule(rows=_some_rows(max_size=8), through_async=st.booleans())
    def add(self, rows: list[VectorEntry], through_async: bool) -> None:
        """Upserts, also of one id twice in a call."""
        self._agree("add", lambda store: store.add(rows), through_async)

    @rule(ids=st.lists(_ids, max_size=3), through_async=st.booleans())
    def delete(self, ids: list[str], through_async: bool) -> None:
        """Known and unknown ids."""
        self._agree("delete", lambda store: store.delete(ids), through_async)

    @rule(
        condition=st.none() | filters(),
        ids=_restrictions,
        document_ids=_document_ids,
        through_async=st.booleans(),
    )
    def delete_by_filter(
        self,
        condition: Filter | None,
        ids: list[str] | None,
        document_ids: list[str] | None,
        through_async: bool,
    ) -> None:
        """With at least one of the restrictions; a filter may turn out to restrict nothing."""
        if ids is None and document_ids is None:
            ids = list(_IDS[:6])
        self._note(condition)
        self._agree(
            "delete_by_filter",
            lambda store: store.delete_by_filter(condition, ids=ids, document_ids=document_ids),
            through_async,
        )

    @rule(through_async=st.booleans(), really=st.integers(0, 9))
    def clear(self, through_async: bool, really: int) -> None:
        """Seldom, as little can be seen afterwards."""
        if really == 0:
            self._agree("clear", lambda store: store.clear(), through_async)

    @rule(after_reopening=st.booleans())
    def read_everything(self, after_reopening: bool) -> None:
        """Rows are the same to the last bit, also after the stores were closed and opened again."""
        if after_reopening:
            self._reopen()
        self.done["reopen and read" if after_reopening else "read"] += 1
        right = stored_rows(self.reference)
        for subject in self.subjects:
            assert_same_rows(stored_rows(subject.store), right)

    @rule(ids=st.lists(_ids, max_size=5), deleted=st.booleans(), through_async=st.booleans())
    def get(self, ids: list[str], deleted: bool, through_async: bool) -> None:
        """Rows by id."""

        def ask(store: VectorStore) -> list[VectorEntry]:
            return store.get(ids, include_deleted=deleted)

        self._compare("get", ask, assert_same_rows, through_async)

    @rule(
        condition=st.none() | filters(),
        ids=_restrictions,
        document_ids=_document_ids,
        deleted=st.booleans(),
        through_async=st.booleans(),
    )
    def count_and_list(
        self,
        condition: Filter | None,
        ids: list[str] | None,
        document_ids: list[str] | None,
        deleted: bool,
        through_async: bool,
    ) -> None:
        """By all that restricts: counted, scanned and listed by a query without legs."""
        self._note(condition)
        restrictions: dict[str, Any] = {"ids": ids, "document_ids": document_ids}
        restrictions["include_deleted"] = deleted
        self._agree("count", lambda store: store.count(condition, **restrictions), through_async)
        self._agree(
            "scan",
            lambda store: sorted(map(str, ids_of(store.scan(condition, **restrictions)))),
            through_async,
        )
        query = VectorStoreQuery(filters=condition, top_k=-1, **restrictions)
        self._agree("list", lambda store: ids_of(store.query(query)), through_async)

    @rule(
        vectors=st.lists(_dense, min_size=1, max_size=3),
        condition=st.none() | filters(),
        top_k=st.sampled_from([1, 3, 10, -1]),
        min_score=st.none() | st.floats(-1, 1),
        ids=_restrictions,
        document_ids=_document_ids,
        deleted=st.booleans(),
        through_async=st.booleans(),
    )
    def search_by_dense_vectors(
        self,
        vectors: list[EmbeddingLike],
        top_k: int,
        condition: Filter | None,
        through_async: bool,
        deleted: bool,
        **restrictions: Any,
    ) -> None:
        """One or several at once."""
        self._note(condition)
        queries = [
            VectorStoreQuery(
                embedding=vector,
                top_k=top_k,
                filters=condition,
                include_deleted=deleted,
                **restrictions,
            )
            for vector in vectors
        ]
        right = [self.reference.query(_everything(query)) for query in queries]

        def check(found: list[list[VectorMatch]]) -> None:
            for matches, wanted, query in zip(found, right, queries, strict=True):
                _assert_ranked(matches, wanted, query)

        self._check("dense", lambda store: store.query_many(queries), check, through_async)

    @rule(text=_texts, condition=st.none() | filters(), through_async=st.booleans())
    def search_by_text(self, text: str, condition: Filter | None, through_async: bool) -> None:
        """The same rows have one of the words."""
        self._note(condition)
        query = VectorStoreQuery(text=text, filters=condition, top_k=-1)
        self._same_hits("full_text", query, {Capability.FULL_TEXT}, through_async)

    @precondition(lambda machine: machine.sparse)
    @rule(vector=_sparse, condition=st.none() | filters(), through_async=st.booleans())
    def search_by_sparse_vector(
        self, vector: SparseVector, condition: Filter | None, through_async: bool
    ) -> None:
        """Ranked as dense ones."""
        self._note(condition)
        query = VectorStoreQuery(embedding=vector, filters=condition, top_k=-1)
        right = self.reference.query(_everything(query))

        def check(found: list[VectorMatch]) -> None:
            _assert_ranked(found, right, query)

        self._check("sparse", lambda store: store.query(query), check, through_async)

    @rule(
        vector=st.runner().flatmap(lambda machine: machine.embeddings()),
        text=_texts,
        condition=st.none() | filters(),
        ranker=st.sampled_from([RRFRanker(), WeightedRanker([0.5, 0.5, 0.5])]),
        through_async=st.booleans(),
    )
    def search_by_all(
        self,
        vector: EmbeddingLike,
        text: str,
        condition: Filter | None,
        ranker: RRFRanker | WeightedRanker,
        through_async: bool,
    ) -> None:
        """Hybrid search: whatever any leg finds is found."""
        self._note(condition)
        legs = 3 if self.sparse else 2
        if isinstance(ranker, WeightedRanker):
            ranker = WeightedRanker(ranker.weights[:legs])
        query = VectorStoreQuery(
            embedding=vector, text=text, filters=condition, top_k=-1, ranker=ranker
        )
        needed = {Capability.FULL_TEXT, Capability.HYBRID}
        self._same_hits("hybrid", query, needed, through_async)

    def teardown(self) -> None:
        """End the event loops; the stores stay open."""
        self._end_loops()

    def _note(self, condition: Filter | None) -> None:
        self.done["filters"] += condition is not None

    def _same_hits(
        self, name: str, query: VectorStoreQuery, needed: set[Capability], through_async: bool
    ) -> None:
        right = {match.id for match in self.reference.query(query)}

        def check(found: list[VectorMatch]) -> None:
            assert {match.id for match in found} == right

        self._check(name, lambda store: store.query(query), check, through_async, needed)

    def _agree(self, name: str, call: Callable[[VectorStore], object], through_async: bool) -> None:
        right = call(self.reference)

        def check(got: object) -> None:
            assert got == right

        self._check(name, call, check, through_async)

    def _compare(
        self,
        name: str,
        call: Callable[[VectorStore], Any],
        compare: Callable[[Any, Any], None],
        through_async: bool,
    ) -> None:
        right = call(self.reference)
        self._check(name, call, lambda got: compare(got, right), through_async)

    def _check(
        self,
        name: str,
        call: Callable[[VectorStore], Any],
        check: Callable[[Any], None],
        through_async: bool,
        needed: Iterable[Capability] = (),
    ) -> None:
        able = [each for each in self.subjects if each.store.capabilities.issuperset(needed)]
        self.done[name] += bool(able)
        for subject in able:
            try:
                check(call(self._twin(subject) if through_async else subject.store))
            except Exception as error:
                error.add_note(f"{name} on {subject.name}, {'async' if through_async else 'sync'}")
                raise

    def _twin(self, subject: Subject) -> ThroughAsync:
        if subject.name not in self._twins:
            self._twins[subject.name] = ThroughAsync(subject.store)
        return self._twins[subject.name]

    def _end_loops(self) -> None:
        while self._twins:
            self._twins.popitem()[1].end_loop()

    def _reopen(self) -> None:
        self._end_loops()
        for subject in self.subjects:
            subject.reopen()


def _everything(query: VectorStoreQuery) -> VectorStoreQuery:
    return VectorStoreQuery(
        embedding=query.embedding,
        filters=query.filters,
        ids=query.ids,
        document_ids=query.document_ids,
        include_deleted=query.include_deleted,
        top_k=-1,
    )


def _assert_ranked(
    got: Sequence[VectorMatch], right: Sequence[VectorMatch], query: VectorStoreQuery
) -> None:
    scores = {match.id: match.similarity_score for match in right}
    if query.min_score is not None:
        # Rows at the threshold may be on either side of it: they count as the store says.
        found = {match.id for match in got}
        least = query.min_score
        scores = {
            row_id: score
            for row_id, score in scores.items()
            if score >= least + _MARGIN or (score > least - _MARGIN and row_id in found)
        }
    assert_ranked(got, scores, query.top_k)
