"""Sparse, full-text and hybrid searches of Milvus: what is sent, what is read, and what is refused."""

from dataclasses import replace
from math import log

import numpy as np
import pymilvus
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_calls import record_calls
from ragbridge.documents import Chunk
from ragbridge.embeddings import HybridVector, SparseVector
from ragbridge.errors import (
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    InvalidQueryError,
    UnsupportedQueryError,
)
from ragbridge.filters import where
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import (
    Capability,
    Leg,
    RRFRanker,
    SimilarityMetric,
    VectorEntry,
    VectorStoreQuery,
    WeightedRanker,
)
from ragbridge.stores.milvus import MilvusVectorStore, collection
from ragbridge.stores.milvus.capabilities import engine_of
from ragbridge.stores.milvus.layout import Plan, Schema, index_params, new_collection, read_schema
from ragbridge.stores.milvus.rows import encode
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.testing import ReferenceVectorStore
from ragbridge.testing._suite.samples import assert_ranked, ids_of, make_entry, stored_rows

ON_LITE = pytest.mark.stores("milvus-lite")
DENSE, SPARSE, TEXT, HYBRID = (
    Capability(name) for name in ("dense", "sparse", "full_text", "hybrid")
)
ENGLISH = FullTextOptions(stop_words="english", stemmer="porter")

TEXTS = {
    "a": "Zebras graze near the rivers",
    "b": "A zebra, and one more zebra",
    "c": "Rivers run into lakes",
    "d": "Nothing of interest",
}
"""Of these, only a stemmer finds both `zebras` and `zebra`."""

VECTORS = {
    "none": None,
    "dense": [1.0, 0.5],
    "sparse": SparseVector([1, 7], [1.0, 0.5]),
    "dense and sparse": HybridVector([1.0, 0.5], SparseVector([1, 7], [1.0, 0.5])),
}


def rows(vector, texts=TEXTS):
    return [make_entry(row_id, vector, text=text) for row_id, text in texts.items()]


def by_text(store, text, **query):
    return store.query(VectorStoreQuery(text=text, **query))


def found(store, text, **query):
    return sorted(ids_of(by_text(store, text, **query)))


def sent(calls):
    return [call.method for call in calls if call.method in ("search", "hybrid_search")]


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the engine."""
    return record_calls(monkeypatch)


@ON_LITE
class TestWhatACollectionHas:
    """The first rows and `full_text` decide, and a store that opens it later reads it off."""

    @pytest.mark.parametrize(
        ("vectors", "full_text"),
        [
            pytest.param(vectors, full_text, id=f"{vectors}, full_text={full_text}")
            for vectors in VECTORS
            for full_text in (None, False, True, ENGLISH)
            if vectors != "none" or full_text is not False
        ],
    )
    def test_every_kind_of_collection(self, make_store, vectors, full_text):
        vector = VECTORS[vectors]
        store = make_store(full_text=full_text)
        given = rows(vector)
        store.add(given)
        wanted = {
            *({DENSE} if "dense" in vectors else ()),
            *({SPARSE} if "sparse" in vectors else ()),
            *({TEXT} if full_text is not False else ()),
        }
        for opened in (store, make_store(collection_name=store.collection_name)):
            assert stored_rows(opened) == given
            assert opened.get(["c"]) == [given[2]]
            assert opened.capabilities == (wanted | {HYBRID} if len(wanted) > 1 else wanted)
            for leg in Leg:
                query = VectorStoreQuery(
                    embedding={Leg.DENSE: VECTORS["dense"], Leg.SPARSE: VECTORS["sparse"]}.get(leg),
                    text="rivers" if leg is Leg.FULL_TEXT else None,
                )
                if leg in wanted:
                    assert "a" in ids_of(opened.query(query))
                    continue
                with pytest.raises(UnsupportedQueryError, match=f"MilvusVectorStore has no {leg}"):
                    opened.query(query)

    def test_rows_without_anything_to_search_by_are_refused(self, make_store):
        store = make_store(full_text=False)
        with pytest.raises(InvalidEmbeddingError, match="give them vectors"):
            store.add(rows(None))
        assert store.count() == 0
        store.add(rows([1.0]))
        assert store.count() == 4

    def test_capabilities_before_there_is_a_collection(self, make_store):
        assert make_store().capabilities == frozenset(Capability)
        assert make_store(full_text=False).capabilities == {DENSE, SPARSE, HYBRID}

    def test_asking_a_lite_store_for_its_capabilities_makes_no_file(self, tmp_path):
        with MilvusVectorStore(uri=tmp_path / "rows.db") as store:
            assert HYBRID in store.capabilities
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (None, False),
            (False, True),
            (False, ENGLISH),
            (None, ENGLISH),
            (ENGLISH, FullTextOptions(stop_words="english", stemmer="english")),
            (ENGLISH, replace(ENGLISH, k1=2.0)),
        ],
        ids=repr,
    )
    def test_what_contradicts_the_collection_is_refused(self, make_store, first, second):
        store = make_store(full_text=first)
        store.add(rows([1.0]))
        other = make_store(collection_name=store.collection_name, full_text=second)
        with pytest.raises(InvalidConfigError, match="made with full_text="):
            other.count()

    @pytest.mark.parametrize("full_text", [None, True, ENGLISH], ids=repr)
    def test_what_agrees_with_the_collection_is_fine(self, make_store, full_text):
        store = make_store(full_text=ENGLISH)
        store.add(rows(None))
        other = make_store(collection_name=store.collection_name, full_text=full_text)
        assert found(other, "the zebra") == ["a", "b"]

    @pytest.mark.parametrize("wrong", ["english", 1, {}, FullTextOptions], ids=repr)
    def test_full_text_is_options_or_a_flag(self, wrong):
        with pytest.raises(InvalidConfigError, match="full_text must be FullTextOptions"):
            MilvusVectorStore(uri="rows.db", full_text=wrong)

    def test_stores_that_race_for_a_collection_must_agree(self, make_store):
        first = make_store()
        second = make_store(collection_name=first.collection_name, full_text=ENGLISH)
        assert second.count() == 0
        first.add(rows([1.0]))
        with pytest.raises(InvalidConfigError, match="full_text"):
            second.add(rows([1.0]))
        assert first.count() == 4

    def test_a_store_that_lost_the_race_analyses_as_the_winner_does(self, make_store):
        winner = make_store(full_text=ENGLISH)
        loser = make_store(collection_name=winner.collection_name)
        assert loser.count() == 0
        winner.add(rows([1.0], {"a": "zebra"}))
        loser.add(rows([1.0], {"b": "zebras"}))
        assert found(winner, "the zebra") == ["a", "b"]


@ON_LITE
class TestAnalysis:
    """How texts become terms."""

    def test_stop_words_and_stems_are_those_of_the_options(self, make_store):
        store = make_store(full_text=ENGLISH)
        store.add(rows([1.0]))
        assert found(store, "ZEBRA!") == found(store, "the zebras") == ["a", "b"]
        assert found(store, "the and of") == []
        plain = make_store()
        plain.add(rows([1.0]))
        assert found(plain, "zebra") == ["b"]
        assert found(plain, "the and of") == ["a", "b", "d"]

    def test_a_reopened_file_analyses_as_before(self, tmp_path):
        odd = FullTextOptions(stop_words=['"zebra"', "À", "rivers\n"], stemmer="french", k1=0.5)
        with MilvusVectorStore(uri=tmp_path / "rows.db", full_text=odd) as store:
            store.add(rows([1.0], {**TEXTS, "e": "Un été à Paris", "f": "étés"}))
            before = by_text(store, "étés zebras")
        with MilvusVectorStore(uri=tmp_path / "rows.db") as store:
            after = by_text(store, "étés zebras")
            assert ids_of(before) == ids_of(after)
            assert {match.id: match.similarity_score for match in after} == pytest.approx(
                {match.id: match.similarity_score for match in before}
            )
            store.add(rows([1.0], {"g": "étés"}))
            assert found(store, "été à") == ["e", "f", "g"]

    def test_scores_are_those_of_k1_and_b(self, make_store):
        for options in (FullTextOptions(), FullTextOptions(k1=0.9, b=0.4), FullTextOptions(b=0.0)):
            store = make_store(full_text=options)
            store.add(rows(None, {"one": "red fox", "two": "red red fox of the hill", "no": "dog"}))
            matches = by_text(store, "red")
            scores = {match.id: match.similarity_score for match in matches}
            assert scores == pytest.approx(
                {"one": bm25(1, 2, options), "two": bm25(2, 6, options)}, rel=1e-5
            )

    @pytest.mark.parametrize("options", [{"k1": 0.0}, {"k1": 3.5}], ids=repr)
    def test_weights_that_the_engine_lacks_are_refused_before_anything_is_made(
        self, make_store, options
    ):
        store = make_store(full_text=FullTextOptions(**options))
        with pytest.raises(InvalidConfigError, match="k1"):
            store.add(rows([1.0]))
        assert make_store(collection_name=store.collection_name).capabilities == frozenset(
            Capability
        )

    @pytest.mark.parametrize("full_text", [None, ENGLISH], ids=repr)
    def test_rows_without_terms_are_found_by_the_rest(self, make_store, full_text):
        store = make_store(full_text=full_text)
        given = [
            *rows([1.0, 0.0], {"empty": "", "points": "...", "text": "red fox"}),
            VectorEntry(id="bytes", embedding=[1.0, 0.0], chunk=Chunk(content=b"red")),
            VectorEntry(id="json", embedding=[1.0, 0.0], chunk=Chunk(content=["red"])),
        ]
        store.add(given)
        assert found(store, "red") == ["text"]
        everyone = sorted(row.id for row in given)
        assert ids_of(store.query(VectorStoreQuery(embedding=[1.0, 0.0]))) == everyone
        both = store.query(VectorStoreQuery(embedding=[1.0, 0.0], text="red"))
        assert both[0].id == "text"
        assert sorted(ids_of(both)) == everyone
        assert stored_rows(store) == sorted(given, key=lambda row: row.id)

    @given(text=st.text(), options=st.sampled_from([ENGLISH, FullTextOptions(stemmer="turkish")]))
    def test_terms_survive_the_engines_own_analysis(self, text, options):
        from milvus_lite.analyzer.standard import StandardAnalyzer

        terms = options.tokenize(text)
        assert StandardAnalyzer().tokenize(" ".join(terms)) == terms


def bm25(often, length, options):
    """Of a word in two of three texts that have 3 words on average, as Milvus weighs it."""
    idf = log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    norm = often + options.k1 * (1 - options.b + options.b * length / 3)
    return idf * often * (options.k1 + 1) / norm


@ON_LITE
class TestSearchesByOneLeg:
    """What the engine is asked, and what it cannot be asked."""

    def test_queries_that_agree_are_one_request(self, make_store, calls):
        store = make_store()
        store.add(rows(VECTORS["dense and sparse"]))
        del calls[:]
        texts = ["zebras", "rivers", "", "unicorns", "lakes zebra"]
        answers = store.query_many([VectorStoreQuery(text=text) for text in texts])
        assert sent(calls) == ["search"]
        assert [sorted(ids_of(answer)) for answer in answers] == [
            ["a"],
            ["a", "c"],
            [],
            [],
            ["b", "c"],
        ]
        del calls[:]
        vectors = [SparseVector([1], [1.0]), SparseVector([3], [1.0]), SparseVector([], [])]
        answers = store.query_many([VectorStoreQuery(embedding=vector) for vector in vectors])
        assert sent(calls) == ["search"]
        assert [ids_of(answer) for answer in answers] == [list("abcd"), [], []]

    @pytest.mark.parametrize(
        ("weights", "wanted"),
        [
            ({1: 2.0, 7: 0.0}, {"a": 2.0, "b": 4.0}),
            ({1: 1.0, 7: -1.0}, {"b": 1.0}),
            ({1: -1.0, 7: 1.0}, {"c": 3.0}),
            ({1: -1.0}, {}),
            ({1: 0.0}, {}),
            ({}, {}),
            ({9: 1.0}, {}),
        ],
    )
    def test_sparse_queries_may_have_any_weights(self, make_store, weights, wanted):
        store = make_store()
        vectors = {"a": {1: 1.0, 7: 1.0}, "b": {1: 2.0, 7: 1.0}, "c": {7: 3.0}}
        store.add([make_entry(i, SparseVector.from_dict(v)) for i, v in vectors.items()])
        query = SparseVector.from_dict(weights)
        for embeddings in (False, True):
            matches = store.query(VectorStoreQuery(embedding=query, include_embeddings=embeddings))
            assert_ranked(matches, wanted)
            assert all((match.embedding is not None) is embeddings for match in matches)

    @pytest.mark.parametrize("leg", [Leg.SPARSE, Leg.FULL_TEXT])
    def test_filters_that_the_engine_only_narrows_down(self, make_store, leg):
        store = make_store()
        store.add(
            [
                make_entry(
                    f"r{n:03}",
                    SparseVector([1], [1 + n / 100]),
                    text="word " * (n + 1),
                    metadata={"s": "Wanted" if n % 50 == 0 else "another"},
                )
                for n in range(200)
            ]
        )
        filters = where("s").text_match("wanted", ignore_case=True)
        query = {"embedding": SparseVector([1], [1.0])} if leg is Leg.SPARSE else {"text": "word"}
        for top_k in (2, 4, 10, -1):
            matches = store.query(VectorStoreQuery(**query, filters=filters, top_k=top_k))
            assert set(ids_of(matches)) <= {"r000", "r050", "r100", "r150"}
            assert len(matches) == (min(top_k, 4) if top_k > 0 else 4)

    @pytest.mark.parametrize("window", [1, 2, 7, 100])
    def test_more_matches_than_the_engine_gives_at_once(self, make_store, monkeypatch, window):
        original = collection.engine_of
        monkeypatch.setattr(collection, "engine_of", lambda v: replace(original(v), window=window))
        store = make_store()
        store.add(
            [
                make_entry(f"r{n:02}", SparseVector([1], [1.0 + n]), text="red " * (n % 5 + 1))
                for n in range(30)
            ]
        )
        for query in ({"embedding": SparseVector([1], [1.0])}, {"text": "red"}):
            every = store.query(VectorStoreQuery(**query, top_k=-1))
            assert sorted(ids_of(every)) == [f"r{n:02}" for n in range(30)]
            scores = [match.similarity_score for match in every]
            assert scores == sorted(scores, reverse=True)
            few = store.query(VectorStoreQuery(**query, top_k=min(8, window + 1)))
            assert few == every[: min(8, window + 1)]
        best = by_text(store, "red", top_k=-1)
        assert [match.id for match in best[:6]] == ["r04", "r09", "r14", "r19", "r24", "r29"]


def hybrid_rows(count=24):
    return [
        make_entry(
            f"r{n:02}",
            HybridVector([1.0, n / 7], SparseVector([n % 3, 5], [1.0 + n % 5, 0.5 + n / 50])),
            text="zebra " * (n % 4) + "filler " * (n % 3 + 1),
            metadata={"n": n, "s": "Even" if n % 2 == 0 else "odd"},
        )
        for n in range(count)
    ]


def hybrid(**query):
    vector = HybridVector([1.0, 0.4], SparseVector([0, 5], [1.0, 0.3]))
    return VectorStoreQuery(**{"embedding": vector, "text": "zebra", **query})


@ON_LITE
class TestSearchesBySeveralLegs:
    """One request where the engine fuses as `_ranking.fuse` does, one for each leg elsewhere."""

    @pytest.fixture
    def store(self, make_store, calls):
        store = make_store()
        store.add(hybrid_rows())
        del calls[:]
        return store

    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"ranker": RRFRanker(1)},
            {"ranker": RRFRanker(0.5)},
            {"ranker": WeightedRanker([0.7, 0.2, 0.1])},
            {"filters": where("n") > 3},
            {"top_k": 200},
            {"leg_top_k": {Leg.DENSE: 3, Leg.SPARSE: 2, Leg.FULL_TEXT: 4}, "top_k": -1},
        ],
        ids=repr,
    )
    def test_what_the_engine_fuses_is_one_request(self, store, calls, query):
        first, second, alone = store.query_many(
            [hybrid(**query)] * 2 + [hybrid(**query, ids=["r04"])]
        )
        assert sent(calls) == ["hybrid_search", "hybrid_search"]
        assert len(first) == len(second) > len(alone) == 1
        assert ids_of(store.query(hybrid(**query))) == ids_of(first) == ids_of(second)

    @pytest.mark.parametrize(
        "query",
        [
            {"ranker": RRFRanker(16_384)},
            {"filters": where("s").text_match("EVEN", ignore_case=True)},
            {"embedding": HybridVector([1.0, 0.4], SparseVector([0, 5], [1.0, -0.3]))},
            {"text": "..."},
            {"leg_top_k": {Leg.FULL_TEXT: -1}},
            {"top_k": -1},
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("ranker", [RRFRanker(60), WeightedRanker([0.5, 0.25, 0.25])], ids=repr)
    def test_what_it_does_not_is_fused_here(self, store, calls, query, ranker):
        query = {"ranker": ranker, **query}
        matches = store.query(hybrid(**query))
        assert "hybrid_search" not in sent(calls)
        reference = ReferenceVectorStore()
        reference.add(hybrid_rows())
        wanted = reference.query(hybrid(**query))
        if isinstance(query["ranker"], WeightedRanker):
            assert_ranked(matches, {match.id: match.similarity_score for match in wanted})
        assert set(ids_of(matches)) == set(ids_of(wanted))

    def test_an_index_that_is_not_exact_is_asked_alone(self, make_store, calls):
        store = make_store(index="HNSW")
        store.add(hybrid_rows(1500))
        rare = where("n").in_([7, 1333])
        assert sorted(ids_of(store.query(hybrid(filters=rare)))) == ["r07", "r1333"]
        assert "hybrid_search" not in sent(calls)

    def test_searches_after_a_flush_and_past_the_candidates_of_a_leg(self, make_store):
        store = make_store()
        store.add(hybrid_rows(1500))
        for _ in range(2):
            assert len(store.query(hybrid(top_k=10))) == 10
            assert len(store.query(hybrid(top_k=150))) == 150
            assert len(store.query(hybrid(top_k=1500))) == 1500

    def test_equal_rows_take_the_ranks_that_they_share(self, make_store):
        store = make_store()
        store.add([make_entry(i, [1.0, float(i in "ab")], text="same words") for i in "dbcaxf"])
        matches = store.query(VectorStoreQuery(embedding=[1.0, 1.0], text="words"))
        ranked = {match.id: match.similarity_score for match in matches}
        low, high = 1 / (60 + 6), 1 / (60 + 1)
        assert set(ranked) == set("dbcaxf")
        for row_id, score in ranked.items():
            first, last = (1, 2) if row_id in "ab" else (3, 6)
            assert low + 1 / (60 + last) <= score * 1.00001
            assert score <= (high + 1 / (60 + first)) * 1.00001
        every_rank = sum(1 / (60 + rank) for rank in range(1, 7))
        assert sum(ranked.values()) == pytest.approx(2 * every_rank, rel=1e-5)

    @pytest.mark.parametrize("metric", [each for each in SimilarityMetric if not each.is_binary])
    @pytest.mark.parametrize(
        "ranker", [RRFRanker(60), RRFRanker(3), WeightedRanker([0.6, 0.3, 0.9])], ids=repr
    )
    def test_the_engine_fuses_as_the_reference_does(self, make_store, calls, metric, ranker):
        store, reference = make_store(metric=metric), ReferenceVectorStore(metric=metric)
        given = [
            make_entry(
                f"r{n}",
                HybridVector([1.0, 0.1 * n], SparseVector([1], [1.0 + n * n % 11])),
                text="zebra " * (n % 4) + "filler " * n,
            )
            for n in range(11)
        ]
        for each in (store, reference):
            each.add(given)
        query = VectorStoreQuery(
            embedding=HybridVector([1.0, 0.43], SparseVector([1], [0.7])),
            text="zebra",
            ranker=ranker,
        )
        wanted = reference.query(replace(query, top_k=-1, leg_top_k=dict.fromkeys(Leg, 100)))
        assert_ranked(store.query(query), {m.id: m.similarity_score for m in wanted}, 10)
        assert sent(calls) == ["hybrid_search"]

    def test_vectors_come_with_the_matches(self, store):
        stored = {row.id: row.embedding for row in stored_rows(store)}
        for match in store.query(hybrid(include_embeddings=True)):
            assert match.embedding == stored[match.id]

    def test_an_answer_that_is_too_large_is_read_in_parts(self, store, monkeypatch):
        whole = store.query_many([hybrid(), hybrid(text="filler")])
        limit_answers(monkeypatch, "hybrid_search")
        assert store.query_many([hybrid(), hybrid(text="filler")]) == whole

    def test_weights_must_fit_the_legs_before_anything_is_asked(self, store, calls):
        with pytest.raises(InvalidQueryError, match="2 weights for the 3 legs"):
            store.query(hybrid(ranker=WeightedRanker([0.5, 0.5])))
        assert sent(calls) == []


@ON_LITE
@pytest.mark.parametrize(
    "asked",
    [
        {"text": "red"},
        {"embedding": SparseVector([1], [1.0])},
        {"text": "red", "embedding": HybridVector([1.0, 0.0], SparseVector([1], [1.0]))},
    ],
    ids=["text", "sparse", "hybrid"],
)
def test_the_best_row_of_each_document_by_any_legs(make_store, asked):
    store = make_store()
    store.add(
        [
            make_entry(
                f"{document}-{n:03}",
                HybridVector([1.0, 0.1 * rank], SparseVector([1], [9.0 - rank])),
                text="red " * (9 - rank),
                document_id=document,
            )
            for rank, document in enumerate("abcde")
            for n in range(60 if document == "a" else 2)
        ]
    )
    query = VectorStoreQuery(**asked, options={"group_by": "document_id"}, top_k=3)
    matches = store.query(query)
    if len(query.legs) == 1:
        assert [match.chunk.document_id for match in matches] == ["a", "b", "c"]
    documents = [match.chunk.document_id for match in matches]
    assert len(documents) == len(set(documents)) == 3
    assert documents[0] == "a"
    scores = [match.similarity_score for match in matches]
    assert scores == sorted(scores, reverse=True)
    enough = store.query(replace(query, min_score=scores[1]))
    assert ids_of(enough) == ids_of(matches[:2])


def limit_answers(monkeypatch, method):
    """Refuse what answers several queries, or one with more than ids, as too large."""
    import grpc

    class TooLarge(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.RESOURCE_EXHAUSTED

        def details(self):
            return "Received message larger than max (2 vs. 1)"

    client = pymilvus.MilvusClient
    original = getattr(client, method)

    def limited(self, *args, reqs, output_fields, **kwargs):
        if output_fields != ["id"] or len(reqs[0].data) > 1:
            raise TooLarge
        return original(self, *args, reqs=reqs, output_fields=output_fields, **kwargs)

    monkeypatch.setattr(client, method, limited)


def planned(version, shape, full_text=None):
    """The fields, properties and indexes that a collection would be made with on an engine."""
    engine = engine_of(version)
    plan = Plan(metric=SimilarityMetric.COSINE, full_text=full_text)
    schema = plan.schema(shape, engine)
    new = new_collection(pymilvus, schema, engine)
    indexes = index_params(pymilvus, plan.layout(schema, engine), engine)
    described = new["schema"].to_dict()
    return (
        {field["name"]: field for field in described["fields"]},
        described.get("functions", []),
        {name: params[0].to_dict() for name, params in indexes.items()},
        read_schema("rows", described | {"properties": new["properties"]}),
    )


class TestEnginesThatAreNotAtHand:
    """What would be sent to them."""

    BOTH = VectorShape(4, sparse=True)

    @pytest.mark.parametrize(
        ("version", "capabilities"),
        [
            ("v2.3.5", {DENSE}),
            ("v2.4.23", {DENSE, SPARSE, HYBRID}),
            ("v2.5.0", {DENSE, SPARSE, HYBRID, TEXT}),
            ("2.6.17-gpu", {DENSE, SPARSE, HYBRID, TEXT}),
            ("Zilliz Cloud Vector Database(Compatible with Milvus 2.6)", frozenset(Capability)),
            ("v3.0-beta", frozenset(Capability)),
            ("unknown", frozenset(Capability)),
            ("milvus_lite-3.2.2", frozenset(Capability)),
        ],
    )
    def test_capabilities(self, version, capabilities):
        assert engine_of(version).capabilities == capabilities

    @pytest.mark.parametrize("full_text", [None, True, ENGLISH], ids=repr)
    def test_servers_get_terms_between_spaces(self, full_text):
        fields, functions, indexes, schema = planned("v2.5.0", self.BOTH, full_text)
        assert fields["terms"]["params"]["analyzer_params"] == '{"tokenizer":"whitespace"}'
        assert fields["terms"]["params"]["enable_analyzer"] is True
        assert "enable_analyzer" not in fields["content"]["params"]
        (function,) = functions
        assert function["type"] is pymilvus.FunctionType.BM25
        assert function["input_field_names"] == ["terms"]
        assert function["output_field_names"] == ["bm25"]
        options = full_text if full_text is ENGLISH else FullTextOptions()
        assert indexes["bm25"]["metric_type"] == "BM25"
        assert indexes["bm25"]["params"] == {"bm25_k1": 1.2, "bm25_b": 0.75}
        assert indexes["sparse"]["metric_type"] == "IP"
        assert schema == Schema(self.BOTH, options, has_terms=True)
        assert schema.searched("Don't STOP the rivers") == (
            "stop river" if full_text is ENGLISH else "don t stop the rivers"
        )

    def test_lite_splits_contents_itself_unless_words_are_dropped_or_stemmed(self):
        fields, (function,), _, schema = planned("milvus_lite-3.2.2", self.BOTH)
        assert function["input_field_names"] == ["content"]
        assert "terms" not in fields
        assert schema.searched("Don't STOP") == "Don't STOP"
        _, (function,), _, schema = planned("milvus_lite-3.2.2", self.BOTH, ENGLISH)
        assert function["input_field_names"] == ["terms"]
        assert schema.searched("The zebras") == "zebra"

    def test_a_2_4_server_has_no_text(self):
        fields, functions, indexes, schema = planned("v2.4.0", self.BOTH)
        assert functions == []
        assert {"vector", "sparse"} <= fields.keys() & indexes.keys()
        assert not {"bm25", "terms"} & (fields.keys() | indexes.keys())
        assert schema == Schema(self.BOTH)

    @pytest.mark.parametrize("version", ["v2.3.5", "v2.4.23"])
    @pytest.mark.parametrize("full_text", [True, ENGLISH], ids=repr)
    def test_full_text_that_was_asked_for_must_be_there(self, version, full_text):
        with pytest.raises(InvalidConfigError, match=r"Milvus 2\.\d has no full-text search"):
            planned(version, VectorShape(4, sparse=False), full_text)

    @pytest.mark.parametrize(
        ("version", "shape", "message"),
        [
            (
                "v2.3.5",
                VectorShape(None, sparse=True),
                "a sparse vector, but Milvus 2.3 serves dense",
            ),
            ("v2.3.5", BOTH, "serves dense only"),
            ("v2.3.5", VectorShape(None, sparse=False), "not searched by Milvus 2.3"),
            ("v2.4.23", VectorShape(None, sparse=False), "not searched by Milvus 2.4"),
            ("v2.5.0", VectorShape(40_000, sparse=False), "dimension 40000"),
        ],
    )
    def test_vectors_that_an_engine_lacks_are_refused(self, version, shape, message):
        with pytest.raises(InvalidEmbeddingError, match=message):
            planned(version, shape)

    def test_k1_may_be_zero_on_servers(self):
        _, _, indexes, _ = planned("v2.5.0", self.BOTH, FullTextOptions(k1=0, b=0))
        assert indexes["bm25"]["params"] == {"bm25_k1": 0.0, "bm25_b": 0.0}

    def test_a_text_must_fit_the_field_of_its_terms(self):
        engine = engine_of("v2.5.0")
        schema = Plan(metric=SimilarityMetric.COSINE).schema(VectorShape(1, sparse=False), engine)
        encode({"a": make_entry("a", [1.0], text="x" * 65_535)}, engine, schema, Tenancy())
        grows = "\u023a" * 32_000  # two bytes each, three in lower case
        with pytest.raises(InvalidDocumentError, match="its terms takes 96000 bytes"):
            encode({"a": make_entry("a", [1.0], text=grows)}, engine, schema, Tenancy())


@pytest.mark.stores("milvus")
class TestAServerWithDenseVectorsOnly:
    """Server 2.3.5 has one vector for each row, and no text."""

    def test_what_it_serves(self, make_store):
        store = make_store()
        assert store.capabilities == {DENSE}
        store.add(rows([1.0, 0.0]))
        assert store.capabilities == {DENSE}
        assert stored_rows(store) == rows([1.0, 0.0])

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ({"text": "zebras"}, "MilvusVectorStore has no full_text leg"),
            ({"embedding": SparseVector([1], [1.0])}, "MilvusVectorStore has no sparse leg"),
            ({"embedding": [1.0, 0.0], "text": "a"}, "MilvusVectorStore has no full_text leg"),
        ],
    )
    def test_other_legs_are_refused(self, make_store, query, message):
        store = make_store()
        for _ in range(2):
            with pytest.raises(UnsupportedQueryError, match=message):
                store.query(VectorStoreQuery(**query))
            store.add(rows([1.0, 0.0]))

    @pytest.mark.parametrize("full_text", [True, ENGLISH], ids=repr)
    def test_full_text_that_was_asked_for_is_refused(self, make_store, full_text):
        with pytest.raises(InvalidConfigError, match=r"Milvus 2\.3 has no full-text search"):
            make_store(full_text=full_text).add(rows([1.0]))

    def test_rows_without_a_dense_vector_are_refused(self, make_store):
        store = make_store()
        for vectors in ("none", "sparse", "dense and sparse"):
            with pytest.raises(InvalidEmbeddingError):
                store.add(rows(VECTORS[vectors]))
        assert store.count() == 0


def test_a_query_like_an_earlier_one_is_checked_all_the_same(make_store):
    """What it seeks may be wrong, though nothing else can be."""
    store = make_store()
    store.add([make_entry("a"), make_entry("b")])
    vector = np.array([1.0, 0.5, 0.0, 0.0], dtype=np.float32)
    query = VectorStoreQuery(embedding=vector)
    assert len(store.query(query)) == 2
    for wrong, message in (
        ([1.0, 0.5], "dimension 2"),
        ([0.0] * 4, "zero vector"),
        ([1e30] * 4, "so large that its norm is"),
        (SparseVector([1], [1.0]), "no sparse leg"),
    ):
        with pytest.raises((InvalidEmbeddingError, UnsupportedQueryError), match=message):
            store.query(VectorStoreQuery(embedding=wrong))
    vector[0] = np.nan  # after it was checked
    with pytest.raises(InvalidEmbeddingError, match="not finite"):
        store.query(query)
