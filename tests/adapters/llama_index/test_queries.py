"""Every field and every mode of LlamaIndex's queries."""

import dataclasses
from math import sqrt

import numpy as np
import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_stores import ask, group, make_node, through
from ragbridge.embeddings import EmbeddingProvider, SparseVector
from ragbridge.errors import (
    InvalidEmbeddingError,
    InvalidFilterError,
    InvalidQueryError,
    UnsupportedQueryError,
)
from ragbridge.llama_index import RagbridgeVectorStore
from ragbridge.llama_index._queries import Request, Settings, usual_query
from ragbridge.stores.base import RRFRanker, SimilarityMetric, WeightedRanker
from ragbridge.stores.base import VectorStoreQuery as CoreQuery

WITH_TEXT = pytest.mark.stores("memory", "milvus-lite")  # server 2.3 has no full text

NODES = {
    "east": ((1.0, 0.0, 0.0, 0.0), "red apple pie", "fruit", {"rank": 1, "kind": "a"}),
    "nearly": ((0.9, 0.1, 0.0, 0.0), "red apple cake", "fruit", {"rank": 2, "kind": "a"}),
    "north": ((0.6, 0.8, 0.0, 0.0), "green pear", "fruit", {"rank": 3, "kind": "b"}),
    "west": ((-1.0, 0.1, 0.0, 0.0), "blue whale whale", "animals", {"rank": 4, "kind": "b"}),
}
EAST = [1.0, 0.0, 0.0, 0.0]


def fill(store):
    store.add(
        [
            make_node(name, vector, text=text, doc=doc, metadata=metadata)
            for name, (vector, text, doc, metadata) in NODES.items()
        ]
    )


@pytest.fixture
def shelf(store):
    fill(store)
    return store


def result(store, keywords=None, **fields):
    fields = {"query_embedding": EAST, "similarity_top_k": 10, **fields}
    return store.query(VectorStoreQuery(**fields), **(keywords or {}))


# DEFAULT.


def test_results_are_aligned_and_best_first(shelf):
    found = result(shelf)
    assert found.ids == ["east", "nearly", "north", "west"]
    assert [node.node_id for node in found.nodes] == found.ids
    cosines = [1.0, 0.9 / sqrt(0.82), 0.6, -1 / sqrt(1.01)]
    assert found.similarities == pytest.approx(cosines, abs=1e-5)
    assert [node.text for node in found.nodes] == [text for _, text, _, _ in NODES.values()]
    assert found.nodes[0].embedding is None


def test_a_query_by_a_vector_alone_is_asked_as_any():
    query = VectorStoreQuery(EAST, similarity_top_k=3, query_str="red", mode="default")
    short, long = usual_query(query), Request.of(query, Settings()).to_core()
    for field in dataclasses.fields(CoreQuery):
        one, other = getattr(short, field.name), getattr(long, field.name)
        assert np.array_equal(one, other) if field.name == "embedding" else one == other


MORE = {
    "query_embedding": None,
    "doc_ids": ["d"],
    "node_ids": ["n"],
    "output_fields": ["rank"],
    "embedding_field": "embedding",
    "mode": VectorStoreQueryMode.MMR,
    "alpha": 0.0,
    "filters": group(("rank", "==", 1)),
    "mmr_threshold": 0.0,
    "sparse_top_k": 1,
    "hybrid_top_k": 1,
}


@pytest.mark.parametrize("name", MORE)
def test_one_that_says_more_is_not(name):
    query = VectorStoreQuery(**{"query_embedding": EAST, name: MORE[name]})
    assert usual_query(query) is None


def test_these_are_all_fields():
    names = {field.name for field in dataclasses.fields(VectorStoreQuery)}
    assert names == {*MORE, "query_str", "similarity_top_k"}


def test_an_empty_store_answers_nothing(store):
    found = result(store)
    assert (found.nodes, found.ids, found.similarities) == ([], [], [])


def test_similarity_top_k(shelf):
    assert ask(shelf, similarity_top_k=2) == ["east", "nearly"]
    assert len(ask(shelf, similarity_top_k=-1)) == 4
    assert ask(shelf, similarity_top_k=1, filters=group(("kind", "==", "b"))) == ["north"]


@pytest.mark.parametrize(
    ("fields", "selected"),
    [
        ({"node_ids": ["west", "east", "unknown"]}, "east west"),
        ({"node_ids": []}, "east nearly north west"),
        ({"doc_ids": ["animals"]}, "west"),
        ({"doc_ids": ["animals", "fruit"]}, "east nearly north west"),
        ({"doc_ids": ["unknown"]}, ""),
        ({"doc_ids": []}, "east nearly north west"),
        ({"doc_ids": ["fruit"], "node_ids": ["west", "east"]}, "east"),
        (
            {"doc_ids": ["fruit"], "filters": group(("rank", ">", 1)), "node_ids": []},
            "nearly north",
        ),
    ],
    ids=str,
)
def test_restrictions(shelf, fields, selected):
    assert ask(shelf, **fields) == selected.split()


def test_without_an_embedding_filters_list(shelf):
    found = result(shelf, query_embedding=None, filters=group(("rank", "<=", 3)))
    assert found.ids == ["east", "nearly", "north"]
    assert found.similarities == [0.0, 0.0, 0.0]
    assert ask(shelf, query_embedding=None, similarity_top_k=2) == ["east", "nearly"]
    assert ask(shelf, query_embedding=None, doc_ids=["animals"]) == ["west"]


def test_output_fields_are_what_is_left_of_the_metadata(shelf):
    found = result(shelf, output_fields=["kind", "unknown"], similarity_top_k=1)
    assert (found.nodes[0].metadata, found.nodes[0].text) == ({"kind": "a"}, "red apple pie")
    assert result(shelf, output_fields=[]).nodes[0].metadata == {}
    assert result(shelf, output_fields=["*"]).nodes[0].metadata == {"rank": 1, "kind": "a"}


def test_the_embedding_field_has_one_name(shelf):
    assert ask(shelf, embedding_field="embedding", similarity_top_k=1) == ["east"]
    with pytest.raises(InvalidQueryError, match="embedding_field must be 'embedding'"):
        ask(shelf, embedding_field="title_embedding")


def test_min_score(shelf):
    assert ask(shelf, keywords={"min_score": 0.7}) == ["east", "nearly"]


@pytest.mark.parametrize("metric", [SimilarityMetric.EUCLIDEAN, SimilarityMetric.DOT_PRODUCT])
def test_higher_is_better_by_every_metric(backend, metric):
    with backend.empty_store(metric=metric, holds="llama_index") as core:
        store = RagbridgeVectorStore(core)
        fill(store)
        found = result(store)
        assert found.ids == ["east", "nearly", "north", "west"]
        assert found.similarities == sorted(found.similarities, reverse=True)


# Text.


@WITH_TEXT
@pytest.mark.parametrize("mode", ["text_search", "sparse"])
def test_by_words(shelf, mode):
    mode = VectorStoreQueryMode(mode)
    found = result(shelf, query_embedding=None, query_str="whale", mode=mode)
    assert found.ids == ["west"]
    assert found.similarities[0] > 0
    assert ask(shelf, query_str="apple", mode=mode) == ["east", "nearly"]
    assert ask(shelf, query_str="apple", mode=mode, filters=group(("rank", ">", 1))) == ["nearly"]
    assert ask(shelf, query_str="apple", mode=mode, doc_ids=["animals"]) == []
    assert ask(shelf, query_str="nothing", mode=mode) == []


@WITH_TEXT
def test_sparse_top_k_is_what_a_sparse_query_returns(shelf):
    mode = VectorStoreQueryMode.SPARSE
    assert len(ask(shelf, query_str="apple", mode=mode, sparse_top_k=1)) == 1
    assert len(ask(shelf, query_str="apple", mode=mode, similarity_top_k=1)) == 1
    assert len(ask(shelf, query_str="apple", mode=mode, similarity_top_k=1, sparse_top_k=2)) == 2


HYBRID = [VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SEMANTIC_HYBRID]


@WITH_TEXT
@pytest.mark.parametrize("mode", HYBRID)
def test_alpha_weighs_embedding_against_text(shelf, mode):
    def ranked(alpha):
        return ask(shelf, query_str="whale", mode=mode, alpha=alpha)

    assert ranked(1.0)[:3] == ["east", "nearly", "north"]
    assert ranked(0.0)[0] == "west"
    assert ranked(0.9)[0] == "east"
    assert ranked(0.1)[0] == "west"


@WITH_TEXT
def test_scores_of_a_weighted_query(shelf):
    found = result(shelf, query_str="whale", mode=HYBRID[0], alpha=0.75)
    scores = dict(zip(found.ids, found.similarities, strict=True))
    assert scores["east"] == pytest.approx(0.75, abs=1e-4)
    assert scores["north"] == pytest.approx(0.75 * 0.8, abs=1e-4)
    assert found.similarities == sorted(found.similarities, reverse=True)


@WITH_TEXT
def test_without_alpha_ranks_are_fused(shelf):
    found = result(shelf, query_str="pear", mode=HYBRID[0])
    assert found.ids[0] == "north"  # third by its embedding, first by its words
    assert found.similarities[0] == pytest.approx(1 / 63 + 1 / 61, abs=1e-5)
    found = result(shelf, {"ranker": RRFRanker(k=1)}, query_str="pear", mode=HYBRID[0])
    assert found.similarities[0] == pytest.approx(1 / 4 + 1 / 2, abs=1e-5)
    weighted = {"ranker": WeightedRanker([1.0, 0.0])}
    assert ask(shelf, keywords=weighted, query_str="pear", mode=HYBRID[0])[0] == "east"


@WITH_TEXT
def test_how_many_candidates_a_hybrid_query_has(shelf):
    def found(**limits):
        return ask(shelf, query_str="whale apple", mode=HYBRID[0], **limits)

    assert len(found(similarity_top_k=2)) == 2
    assert len(found(similarity_top_k=2, hybrid_top_k=3)) == 3
    # The embedding finds east only, the words west only.
    assert set(found(similarity_top_k=1, sparse_top_k=1, hybrid_top_k=4)) == {"east", "west"}


@WITH_TEXT
def test_hybrid_queries_are_restricted_in_every_leg(shelf):
    for filters in (group(("rank", ">", 2)), group(("kind", "==", "b"))):
        found = ask(shelf, query_str="red apple whale", mode=HYBRID[0], filters=filters, alpha=0.5)
        assert set(found) == {"north", "west"}


@pytest.mark.stores("milvus")
@pytest.mark.parametrize("mode", [VectorStoreQueryMode.TEXT_SEARCH, *HYBRID])
def test_an_engine_without_full_text_says_so(shelf, mode):
    with pytest.raises(UnsupportedQueryError, match="full_text"):
        ask(shelf, query_str="whale", mode=mode)


WORDS = ["red", "green", "blue", "apple", "pear", "whale", "fruit"]
MEANINGS = {"fruit": ["fruit", "apple", "pear"]}


class Sparse(BaseSparseEmbedding):
    """Weighs the words that it knows; passages and queries differently."""

    def _get_text_embedding(self, text):
        return {WORDS.index(word): 1.0 for word in text.split() if word in WORDS}

    def _get_query_embedding(self, query):
        words = [meant for word in query.split() for meant in MEANINGS.get(word, [word])]
        return {WORDS.index(word): 2.0 for word in words if word in WORDS}

    async def _aget_text_embedding(self, text):
        return self._get_text_embedding(text)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


@pytest.fixture(params=["sync", "async"])
def sparse(backend, request):
    with backend.empty_store(metric=SimilarityMetric.COSINE, holds="llama_index_sparse") as core:
        made = RagbridgeVectorStore(core, sparse_embedding_provider=Sparse())
        with through(made, request.param) as store:
            fill(store)
            yield store


@WITH_TEXT
def test_by_sparse_vectors(sparse):
    found = result(
        sparse, query_embedding=None, query_str="fruit", mode=VectorStoreQueryMode.SPARSE
    )
    assert sorted(found.ids) == ["east", "nearly", "north"]  # none of them has the word in it
    assert found.similarities == pytest.approx([2.0] * 3)


@WITH_TEXT
def test_hybrid_of_dense_and_sparse_vectors(sparse):
    found = result(sparse, query_str="whale", mode=HYBRID[0], alpha=0.2)
    assert found.ids[0] == "west"
    assert ask(sparse, query_str="whale", mode=HYBRID[0], alpha=1.0)[0] == "east"
    assert set(
        ask(
            sparse,
            query_str="pear",
            mode=HYBRID[0],
            similarity_top_k=1,
            sparse_top_k=1,
            hybrid_top_k=5,
        )
    ) == {"east", "north"}


@WITH_TEXT
def test_text_search_goes_by_words_even_so(sparse):
    assert ask(sparse, query_str="fruit", mode=VectorStoreQueryMode.TEXT_SEARCH) == []
    assert ask(sparse, query_str="cake", mode=VectorStoreQueryMode.TEXT_SEARCH) == ["nearly"]


class Dense(EmbeddingProvider):
    """Makes no sparse vectors."""

    def batch_embed(self, chunks):
        return [EAST for _ in chunks]


def test_a_sparse_provider_must_make_sparse_vectors():
    store = RagbridgeVectorStore(sparse_embedding_provider=Dense())
    with pytest.raises(InvalidEmbeddingError, match="Dense made a ndarray"):
        store.add([make_node("a")])


def test_nodes_may_have_a_sparse_vector_only():
    store = RagbridgeVectorStore(sparse_embedding_provider=Sparse())
    node = make_node("a", text="red whale").model_copy(update={"embedding": None})
    store.add([node])
    assert ask(store, query_str="whale", mode=VectorStoreQueryMode.SPARSE) == ["a"]
    entry = store.vector_store.get(["a"])[0]
    assert entry.embedding == SparseVector.from_dict({0: 1.0, 5: 1.0})


# MMR.


@pytest.fixture
def crowd(store):
    """Three rows that are nearly one, and one that differs."""
    vectors = {"a": (1, 0, 0, 0), "b": (1, 0.01, 0, 0), "c": (1, 0.02, 0, 0), "d": (1, 1, 0, 0)}
    store.add([make_node(name, vector) for name, vector in vectors.items()])
    return store


MMR = VectorStoreQueryMode.MMR


def test_mmr_chooses_what_differs(crowd):
    assert ask(crowd, similarity_top_k=2) == ["a", "b"]
    assert ask(crowd, similarity_top_k=2, mode=MMR, mmr_threshold=0.3) == ["a", "d"]
    assert ask(crowd, similarity_top_k=2, mode=MMR, mmr_threshold=1.0) == ["a", "b"]
    assert ask(crowd, similarity_top_k=-1, mode=MMR, mmr_threshold=1.0) == ["a", "b", "c", "d"]


def test_the_keyword_goes_before_the_field(crowd):
    asked = {"similarity_top_k": 2, "mode": MMR}
    assert ask(crowd, **asked, keywords={"mmr_threshold": 0.3}) == ["a", "d"]
    assert ask(crowd, **asked, keywords={"mmr_threshold": 1.0}, mmr_threshold=0.3) == ["a", "b"]
    assert ask(crowd, **asked, keywords={"mmr_threshold": 0.0}, mmr_threshold=1.0) == ["a", "d"]


def test_what_mmr_chooses_from(crowd):
    asked = {"similarity_top_k": 2, "mode": MMR, "mmr_threshold": 0.1}
    assert ask(crowd, **asked, keywords={"mmr_prefetch_k": 3}) == ["a", "c"]
    assert ask(crowd, **asked, keywords={"mmr_prefetch_k": 1}) == ["a", "b"]
    assert ask(crowd, **asked, keywords={"mmr_prefetch_factor": 1.5}) == ["a", "c"]
    assert ask(crowd, **asked, keywords={"mmr_prefetch_factor": 2.0}) == ["a", "d"]


def test_mmr_gives_similarities(crowd):
    found = result(crowd, mode=MMR, mmr_threshold=0.3, similarity_top_k=2)
    assert found.similarities == pytest.approx([1.0, sqrt(0.5)], abs=1e-5)
    assert found.nodes[0].embedding == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.stores("milvus-lite", "milvus")
def test_mmr_is_one_request(node_store, monkeypatch):
    from engine_calls import record_calls

    fill(node_store)
    ask(node_store)
    calls = record_calls(monkeypatch)
    assert len(ask(node_store, mode=MMR, similarity_top_k=2, keywords={"mmr_prefetch_k": 3})) == 2
    assert [call.method for call in calls] == ["search"]


def test_through_an_index(node_store):
    fill(node_store)
    index = VectorStoreIndex.from_vector_store(node_store, embed_model=MockEmbedding(embed_dim=4))
    retriever = index.as_retriever(
        vector_store_query_mode="mmr",
        similarity_top_k=2,
        vector_store_kwargs={"mmr_threshold": 0.5, "mmr_prefetch_k": 4},
        filters=group(("kind", "==", "a")),
    )
    assert {each.node.node_id for each in retriever.retrieve("any")} == {"east", "nearly"}


# Learners.

LEARNERS = ["svm", "logistic_regression", "linear_regression"]


@pytest.mark.parametrize("mode", LEARNERS)
def test_learners_rank_what_is_like_the_query_first(shelf, mode):
    mode = VectorStoreQueryMode(mode)
    found = result(shelf, query_embedding=[0.6, 0.8, 0.0, 0.0], mode=mode)
    assert found.ids[0] == "north"
    assert found.ids[-1] == "west"
    assert found.similarities == sorted(found.similarities, reverse=True)
    assert ask(shelf, mode=mode, similarity_top_k=1) == ["east"]
    assert ask(shelf, mode=mode, filters=group(("kind", "==", "b"))) == ["north", "west"]
    assert ask(shelf, mode=mode, doc_ids=["animals"]) == ["west"]
    assert ask(shelf, mode=mode, node_ids=["unknown"]) == []


@pytest.mark.parametrize("mode", LEARNERS)
def test_learners_differ(mode):
    """Each mode is the learner that it names: LlamaIndex's own store fits an SVM for all of them."""
    import numpy as np

    store = RagbridgeVectorStore()
    vectors = np.random.default_rng(7).standard_normal((30, 4))
    store.add([make_node(f"{row:02}", vector) for row, vector in enumerate(vectors)])
    scores = {
        each: tuple(result(store, mode=VectorStoreQueryMode(each)).similarities)
        for each in LEARNERS
    }
    assert len(set(scores.values())) == len(LEARNERS)


def test_learners_are_fitted_to_so_many_rows_only(node_store):
    fill(node_store)
    node_store.learner_candidates = 3
    mode = VectorStoreQueryMode.SVM
    with pytest.raises(UnsupportedQueryError, match=r"'svm' fits .* more than 3; restrict them"):
        ask(node_store, mode=mode)
    assert len(ask(node_store, mode=mode, doc_ids=["fruit"])) == 3


def test_learners_say_that_a_dimension_is_wrong(shelf):
    with pytest.raises(InvalidEmbeddingError, match=r"dimension 2, but the store .* dimension 4"):
        ask(shelf, query_embedding=[1.0, 0.0], mode=VectorStoreQueryMode.SVM)


def test_learners_need_scikit_learn(shelf, monkeypatch):
    import sys

    for name in ("sklearn", "sklearn.svm"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"scikit-learn .* pip install 'ragbridge\[learners\]'"):
        ask(shelf, mode=VectorStoreQueryMode.SVM)


# Bad input.

ANY = VectorStoreQueryMode.DEFAULT


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"similarity_top_k": 0}, "similarity_top_k must be at least 1"),
        ({"similarity_top_k": "3"}, "similarity_top_k must be an integer"),
        ({"sparse_top_k": 0}, "sparse_top_k must be at least 1"),
        ({"hybrid_top_k": -2}, "hybrid_top_k must be at least 1"),
        ({"alpha": 1.1}, r"alpha must lie in \[0, 1\], not float 1.1"),
        ({"alpha": -0.1}, r"alpha must lie in \[0, 1\]"),
        ({"alpha": "half"}, r"alpha must lie in \[0, 1\]"),
        ({"alpha": float("nan")}, r"alpha must lie in \[0, 1\]"),
        ({"mmr_threshold": 2}, r"mmr_threshold must lie in \[0, 1\]"),
        ({"keywords": {"mmr_threshold": -1}}, r"mmr_threshold must lie in \[0, 1\]"),
        ({"mode": "fuzzy"}, "mode must be one of default, .*mmr; not str 'fuzzy'"),
        ({"mode": None}, "mode must be one of"),
        ({"output_fields": "kind"}, "output_fields must be a list"),
        ({"node_ids": "east"}, "node_ids must be a list of ids"),
        ({"doc_ids": "fruit"}, "doc_ids must be a list of ids"),
        ({"doc_ids": [3]}, "an item of doc_ids must be a non-empty string"),
        ({"mode": MMR, "query_embedding": None}, "'mmr' needs a query_embedding"),
        ({"mode": VectorStoreQueryMode.SVM, "query_embedding": None}, "'svm' needs a query_embed"),
        ({"mode": HYBRID[0], "query_str": "a", "query_embedding": None}, "needs a query_embedding"),
        ({"mode": HYBRID[1]}, "'semantic_hybrid' needs a query_str that is not blank"),
        ({"mode": VectorStoreQueryMode.SPARSE, "query_str": " "}, "'sparse' needs a query_str"),
        ({"mode": VectorStoreQueryMode.TEXT_SEARCH}, "'text_search' needs a query_str"),
        ({"mode": MMR, "keywords": {"mmr_prefetch_k": 0}}, "mmr_prefetch_k must be at least 1"),
        (
            {"mode": MMR, "keywords": {"mmr_prefetch_k": 9, "mmr_prefetch_factor": 2}},
            "mmr_prefetch_factor and mmr_prefetch_k say the same",
        ),
        (
            {"mode": MMR, "keywords": {"mmr_prefetch_factor": 0}},
            "mmr_prefetch_factor must be a positive number",
        ),
        ({"keywords": {"ranker": "rrf"}}, "ranker must be an RRFRanker"),
        ({"keywords": {"min_score": "0.5"}}, "min_score must be a finite number"),
    ],
    ids=str,
)
def test_a_wrong_query_is_named(shelf, fields, message):
    with pytest.raises(InvalidQueryError, match=message):
        ask(shelf, **fields)


def test_what_is_no_query(shelf):
    with pytest.raises(InvalidQueryError, match="query must be LlamaIndex's VectorStoreQuery"):
        shelf.query("east")


def test_an_option_that_nobody_knows(shelf):
    with pytest.raises(UnsupportedQueryError, match="string_expr"):
        ask(shelf, keywords={"string_expr": "id != ''"})


@pytest.mark.stores("milvus-lite", "milvus")
def test_options_of_the_engine(shelf):
    assert ask(shelf, keywords={"expr": 'metadata["rank"] > 2'}) == ["north", "west"]


def test_a_query_of_another_dimension(shelf):
    with pytest.raises(InvalidEmbeddingError, match="dimension 2"):
        ask(shelf, query_embedding=[1.0, 0.0])
    with pytest.raises(InvalidFilterError, match="filters must be"):
        ask(shelf, filters="rank > 1")


TEXTUAL = ("sparse", "text_search", "hybrid", "semantic_hybrid")


@pytest.mark.parametrize("mode", VectorStoreQueryMode)
def test_every_mode_keeps_to_every_filter(node_store, store_name, mode):
    """What other stores get wrong in some modes: NOT, == None, and restrictions by id."""
    fill(node_store)
    if store_name == "milvus" and mode.value in TEXTUAL:
        mode = VectorStoreQueryMode.DEFAULT
    asked = {"mode": mode, "query_str": "red apple pie green pear whale"}
    assert set(ask(node_store, **asked, filters=group(("kind", "==", "a"), condition="not"))) == {
        "north",
        "west",
    }
    assert ask(node_store, **asked, filters=group(("kind", "==", None))) == []
    assert ask(node_store, **asked, node_ids=["north"]) == ["north"]
