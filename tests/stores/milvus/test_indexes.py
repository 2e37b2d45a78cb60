"""Index parameters: what is let through, what is refused, and what engines make of it."""

import dataclasses
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.errors import InvalidConfigError, InvalidQueryError, UnsupportedQueryError
from ragbridge.stores.milvus.indexes import (
    INDEXES,
    AutoIndex,
    BinFlat,
    BinIvfFlat,
    DiskAnn,
    Flat,
    GpuCagra,
    Hnsw,
    HnswSq,
    IvfFlat,
    IvfPq,
    IvfSq8,
    Scann,
    SparseInvertedIndex,
    SparseWand,
    VectorKind,
    available_indexes,
    index_from_description,
    index_from_name,
)

INT_MAX = 2**31 - 1

# index, metric, dimension, what is built, what a query of 10 sends
DEFAULTS = [
    (Flat(), "L2", 32, {}, {}),
    (AutoIndex(), "IP", 32, {}, {}),
    (Hnsw(), "COSINE", 32, {"M": 16, "efConstruction": 200}, {"ef": 64}),
    (
        HnswSq(),
        "COSINE",
        32,
        {"M": 16, "efConstruction": 200, "sq_type": "SQ8", "refine": False},
        {"ef": 64},
    ),
    (IvfFlat(), "L2", 32, {"nlist": 128}, {"nprobe": 16}),
    (IvfSq8(), "L2", 32, {"nlist": 128}, {"nprobe": 16}),
    (IvfPq(), "IP", 32, {"nlist": 128, "m": 16, "nbits": 8}, {"nprobe": 16}),
    (Scann(), "IP", 32, {"nlist": 128, "with_raw_data": True}, {"nprobe": 16, "reorder_k": 50}),
    (DiskAnn(), "COSINE", 32, {}, {"search_list": 100}),
    (
        GpuCagra(),
        "L2",
        32,
        {
            "intermediate_graph_degree": 128,
            "graph_degree": 64,
            "build_algo": "IVF_PQ",
            "cache_dataset_on_device": False,
            "adapt_for_cpu": False,
        },
        {},
    ),
    (BinFlat(), "HAMMING", 32, {}, {}),
    (BinIvfFlat(), "JACCARD", 32, {"nlist": 128}, {"nprobe": 16}),
    (SparseInvertedIndex(), "IP", None, {}, {}),
    (SparseWand(), "BM25", None, {}, {}),
]

# class, attribute, the smallest and the largest that pass, values that do not
INTEGERS = [
    (Hnsw, "m", 2, 2048),
    (Hnsw, "ef_construction", 1, INT_MAX),
    (Hnsw, "ef", 1, INT_MAX),
    (HnswSq, "m", 2, 2048),
    (AutoIndex, "ef", 1, INT_MAX),
    (AutoIndex, "level", 1, 10),
    (IvfFlat, "nlist", 1, 65536),
    (IvfFlat, "max_empty_result_buckets", 1, 65535),
    (IvfSq8, "nlist", 1, 65536),
    (IvfPq, "m", 1, 65536),
    (IvfPq, "nbits", 1, 24),
    (Scann, "reorder_k", 1, INT_MAX),
    (DiskAnn, "search_list", 1, INT_MAX),
    (GpuCagra, "intermediate_graph_degree", 64, INT_MAX),
    (GpuCagra, "graph_degree", 1, 128),
    (GpuCagra, "itopk_size", 1, INT_MAX),
    (GpuCagra, "search_width", 1, INT_MAX),
    (GpuCagra, "min_iterations", 0, INT_MAX),
    (GpuCagra, "max_iterations", 0, INT_MAX),
    (BinIvfFlat, "nlist", 1, 65536),
]
NUMBERS = [
    (SparseInvertedIndex, "bm25_k1", 0, 3),
    (SparseInvertedIndex, "bm25_b", 0, 1),
    (SparseInvertedIndex, "dim_max_score_ratio", 0.5, 1.3),
    (SparseInvertedIndex, "drop_ratio_build", 0, 0.999),
    (SparseWand, "drop_ratio_search", 0, 0.999),
]
WORDS = [
    (HnswSq, "sq_type", ["SQ4U", "SQ6", "SQ8", "BF16", "FP16"], ["sq8", "FP32", "", 8, None]),
    (HnswSq, "refine", [True, False], [1, 0, "true", None]),
    (Scann, "with_raw_data", [True, False], [1, "True", None]),
    (GpuCagra, "build_algo", ["IVF_PQ", "NN_DESCENT"], ["ivf_pq", True, None]),
    (GpuCagra, "team_size", [None, 0, 2, 4, 8, 16, 32], [1, 3, 64, True, "2"]),
    (
        SparseInvertedIndex,
        "inverted_index_algo",
        [None, "DAAT_MAXSCORE", "DAAT_WAND", "TAAT_NAIVE"],
        ["WAND", 1],
    ),
]


@pytest.mark.parametrize(("index", "metric", "dimension", "built", "searched"), DEFAULTS)
def test_defaults(index, metric, dimension, built, searched):
    assert index.index_params(metric, dimension) == {
        "index_type": index.name,
        "metric_type": metric,
        "params": {"params": built},
    }
    assert index.search_params(10) == searched


def test_every_index_is_in_the_table_under_its_name():
    assert {type(index) for index, *_ in DEFAULTS} == set(INDEXES.values())
    assert {name: index.name for name, index in INDEXES.items()} == {name: name for name in INDEXES}


@pytest.mark.parametrize(("index_class", "attribute", "low", "high"), INTEGERS)
def test_whole_numbers_keep_to_their_range(index_class, attribute, low, high):
    for good in (low, high):
        assert getattr(index_class(**{attribute: good}), attribute) == good
    for bad in (low - 1, high + 1, -5, float(low), str(low), True, float("nan")):
        with pytest.raises(InvalidConfigError, match=rf"^{index_class.name}: "):
            index_class(**{attribute: bad})


@pytest.mark.parametrize(("index_class", "attribute", "low", "high"), NUMBERS)
def test_numbers_keep_to_their_range(index_class, attribute, low, high):
    for good in (low, (low + high) / 2, high):
        assert getattr(index_class(**{attribute: good}), attribute) == good
    for bad in (low - 0.01, max(high, 1) + 0.01, str(low), False, float("nan"), float("inf")):
        with pytest.raises(InvalidConfigError, match=rf"{attribute} must be a number from"):
            index_class(**{attribute: bad})


@pytest.mark.parametrize("attribute", ["drop_ratio_build", "drop_ratio_search"])
def test_a_drop_ratio_of_one_would_drop_all(attribute):
    with pytest.raises(InvalidConfigError, match="from 0 to below 1, not int 1"):
        SparseInvertedIndex(**{attribute: 1})


@pytest.mark.parametrize(("index_class", "attribute", "good", "bad"), WORDS)
def test_words_are_taken_from_a_list(index_class, attribute, good, bad):
    for value in good:
        assert getattr(index_class(**{attribute: value}), attribute) == value
    for value in bad:
        with pytest.raises(InvalidConfigError, match=rf"{attribute} must be .* or "):
            index_class(**{attribute: value})


def test_a_refusal_names_the_index_the_parameter_the_range_and_the_value():
    with pytest.raises(
        InvalidConfigError, match=r"^HNSW: M must be an integer from 2 to 2048, not int 1$"
    ):
        Hnsw(m=1)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: IvfFlat(nlist=4, nprobe=5), r"nprobe must be at most nlist \(4\), not 5"),
        (lambda: HnswSq(refine_type="FP32"), "refine_type needs refine=True"),
        (lambda: HnswSq(refine_k=2), "refine_k needs refine=True"),
        (lambda: GpuCagra(graph_degree=200), r"at most intermediate_graph_degree \(128\), not 200"),
        (lambda: GpuCagra(ef=10), "ef needs adapt_for_cpu=True"),
    ],
)
def test_parameters_that_do_not_go_together(make, complaint):
    with pytest.raises(InvalidConfigError, match=complaint):
        make()


def test_required_parameters_cannot_be_left_to_the_engine():
    for index_class, attribute in [(Hnsw, "m"), (Hnsw, "ef"), (IvfPq, "nbits"), (Flat, None)]:
        if attribute:
            with pytest.raises(InvalidConfigError, match="not NoneType None"):
                index_class(**{attribute: None})


# Columns.


@pytest.mark.parametrize(
    ("index", "good", "bad"),
    [
        (IvfPq(m=7), [7, 14], [32, 6]),
        (Scann(), [2, 384], [31, 33]),
        (BinFlat(), [8, 256], [12, 31]),
        (BinIvfFlat(), [8, 256], [12, 31]),
        (Hnsw(), [1, 31], []),
    ],
)
def test_dimensions(index, good, bad):
    for dimension in good:
        index.index_params(index.metrics[0], dimension)
    for dimension in bad:
        with pytest.raises(InvalidConfigError, match=f"divides, not {dimension}"):
            index.index_params(index.metrics[0], dimension)


@pytest.mark.parametrize(("dimension", "m"), [(384, 192), (2, 1), (15, 15), (1, 1)])
def test_product_quantization_halves_the_dimension(dimension, m):
    assert IvfPq().index_params("L2", dimension)["params"]["params"]["m"] == m


def test_only_sparse_columns_have_no_dimension():
    for index in (cls() for cls in INDEXES.values()):
        if VectorKind.SPARSE in index.kinds:
            index.index_params("IP")
        else:
            with pytest.raises(InvalidConfigError, match="needs the column's dimension"):
                index.index_params(index.metrics[0])


@pytest.mark.parametrize(
    ("index", "metrics"),
    [
        (Hnsw(), {"COSINE", "L2", "IP"}),
        (BinFlat(), {"HAMMING", "JACCARD", "SUBSTRUCTURE", "SUPERSTRUCTURE"}),
        (BinIvfFlat(), {"HAMMING", "JACCARD"}),
        (SparseInvertedIndex(), {"IP", "BM25"}),
        (SparseInvertedIndex(bm25_k1=1.2), {"BM25"}),
        (SparseWand(bm25_b=0.5), {"BM25"}),
    ],
)
def test_metrics(index, metrics):
    every = {"COSINE", "L2", "IP", "HAMMING", "JACCARD", "SUBSTRUCTURE", "SUPERSTRUCTURE", "BM25"}
    for metric in metrics:
        assert index.index_params(metric, 8)["metric_type"] == metric
    for metric in (*(every - metrics), "cosine", ""):
        with pytest.raises(InvalidConfigError, match="serves the metrics"):
            index.index_params(metric, 8)


# Queries.


@pytest.mark.parametrize(
    ("index", "top_k", "overrides", "sent"),
    [
        (Hnsw(ef=64), 10, None, {"ef": 64}),
        (Hnsw(ef=64), 64, {}, {"ef": 64}),
        (Hnsw(ef=64), 65, None, {"ef": 65}),
        (Hnsw(ef=64), 10, {"ef": 300}, {"ef": 300}),
        (Hnsw(ef=64), 100, {"ef": 20}, {"ef": 100}),
        (AutoIndex(), 100, {"ef": 20}, {"ef": 100}),
        (AutoIndex(level=3), 100, {"level": 9}, {"level": 9}),
        (HnswSq(refine=True), 10, {"refine_k": 2.5}, {"ef": 64, "refine_k": 2.5}),
        (IvfFlat(nlist=4), 10, None, {"nprobe": 4}),
        (IvfFlat(nlist=16), 10, None, {"nprobe": 8}),
        (IvfFlat(nlist=1024), 10, None, {"nprobe": 128}),
        (IvfFlat(nlist=1024, nprobe=3), 10, None, {"nprobe": 3}),
        (IvfFlat(nprobe=3), 500, {"nprobe": 128}, {"nprobe": 128}),
        (Scann(nprobe=1), 100, None, {"nprobe": 1, "reorder_k": 500}),
        (Scann(nprobe=1, reorder_k=50), 100, None, {"nprobe": 1, "reorder_k": 100}),
        (Scann(nprobe=1), 100, {"reorder_k": 200}, {"nprobe": 1, "reorder_k": 200}),
        (DiskAnn(), 250, None, {"search_list": 250}),
        (GpuCagra(itopk_size=16), 30, {"search_width": 4}, {"itopk_size": 30, "search_width": 4}),
        (GpuCagra(adapt_for_cpu=True), 10, None, {"ef": 64}),
        (GpuCagra(adapt_for_cpu=True), 100, {"ef": 5}, {"ef": 100}),
        (SparseInvertedIndex(), 10, {"drop_ratio_search": 0.2}, {"drop_ratio_search": 0.2}),
    ],
)
def test_search_parameters(index, top_k, overrides, sent):
    assert index.search_params(top_k, overrides) == sent


def test_an_unknown_search_parameter_is_refused_with_those_that_there_are():
    with pytest.raises(
        UnsupportedQueryError,
        match=r"^IVF_FLAT has no search parameter 'ef'; it has nprobe, max_empty_result_buckets$",
    ):
        IvfFlat().search_params(10, {"ef": 5})
    with pytest.raises(UnsupportedQueryError, match="FLAT has no search parameter 1; it has none"):
        Flat().search_params(10, {1: 1})
    for building in ("M", "efConstruction", "m", "ef_construction"):
        with pytest.raises(UnsupportedQueryError, match=r"it has ef$"):
            Hnsw().search_params(10, {building: 16})


@pytest.mark.parametrize("value", [0, -1, 2**31, 1.5, "64", True, None, [64]])
def test_a_wrong_search_value_is_refused(value):
    with pytest.raises(InvalidQueryError, match="HNSW: ef must be an integer from 1 to 2147483647"):
        Hnsw().search_params(10, {"ef": value})


def test_overrides_obey_what_the_index_was_built_with():
    with pytest.raises(InvalidQueryError, match=r"nprobe must be at most nlist \(128\), not 129"):
        IvfFlat().search_params(10, {"nprobe": 129})
    with pytest.raises(InvalidQueryError, match="refine_k needs refine=True"):
        HnswSq().search_params(10, {"refine_k": 2})
    with pytest.raises(InvalidQueryError, match="must be a mapping of names, not list"):
        Hnsw().search_params(10, [("ef", 5)])


@given(
    top_k=st.integers(1, 16384),
    name=st.sampled_from(sorted(INDEXES)),
    overrides=st.dictionaries(
        st.sampled_from(["ef", "nprobe", "search_list", "reorder_k", "itopk_size", "level"]),
        st.integers(-2, 200),
    ),
)
def test_what_is_sent_is_json_and_no_smaller_than_the_matches_asked_for(top_k, name, overrides):
    try:
        sent = INDEXES[name]().search_params(top_k, overrides)
    except (InvalidQueryError, UnsupportedQueryError):
        return
    assert json.loads(json.dumps(sent)) == sent
    assert overrides.keys() <= sent.keys()
    assert all(
        sent[n] >= top_k for n in ("ef", "search_list", "reorder_k", "itopk_size") if n in sent
    )


# By name.


@pytest.mark.parametrize(
    ("name", "params", "index"),
    [
        ("HNSW", {"M": 32, "efConstruction": 100, "ef": 7}, Hnsw(m=32, ef_construction=100, ef=7)),
        ("hnsw", None, Hnsw()),
        (" Flat ", {}, Flat()),
        ("AUTO", None, AutoIndex()),
        ("AUTOINDEX", None, AutoIndex()),
        ("DiskANN", {"search_list": 10}, DiskAnn(search_list=10)),
        ("IVF_PQ", {"m": 8, "nlist": 64, "nprobe": 2}, IvfPq(m=8, nlist=64, nprobe=2)),
    ],
)
def test_indexes_by_name(name, params, index):
    assert index_from_name(name, params) == index


@pytest.mark.parametrize("name", ["HNWS", "", "Hnsw()", None, 5, Hnsw])
def test_an_unknown_index_is_refused_with_those_that_there_are(name):
    with pytest.raises(
        InvalidConfigError, match=r"index must be one of FLAT, AUTOINDEX, HNSW, .*, not"
    ):
        index_from_name(name)


def test_an_unknown_parameter_is_refused_with_those_that_there_are():
    with pytest.raises(
        InvalidConfigError, match=r"^HNSW has no parameter 'm'; it has M, efConstruction, ef$"
    ):
        index_from_name("HNSW", {"m": 16})
    with pytest.raises(
        InvalidConfigError, match="params must be a mapping of names, not str 'M=16'"
    ):
        index_from_name("HNSW", "M=16")
    with pytest.raises(InvalidConfigError, match="HNSW: M must be an integer"):
        index_from_name("HNSW", {"M": "16"})


# What a collection says of its index.


@pytest.mark.parametrize(
    ("description", "index"),
    [
        ({"index_type": "HNSW", "M": "8", "efConstruction": "99"}, Hnsw(m=8, ef_construction=99)),
        ({"index_type": "HNSW", "params": {"M": 8}, "state": "Finished"}, Hnsw(m=8)),
        ({"index_type": "HNSW", "params": '{"M": 8}'}, Hnsw(m=8)),
        ({"index_type": "SCANN", "with_raw_data": "false"}, Scann(with_raw_data=False)),
        ({"index_type": "HNSW_SQ", "sq_type": "SQ6", "bogus": "1"}, HnswSq(sq_type="SQ6")),
        ({"index_type": "HNSW", "M": "1", "efConstruction": "x"}, Hnsw()),
        ({"index_type": "HNSW", "M": "8", "ef": "9"}, Hnsw(m=8)),
        ({"index_type": "IVF_FLAT", "nlist": "4", "params": "oops"}, IvfFlat(nlist=4)),
        ({"index_type": "IVF_FLAT", "nlist": "4", "nprobe": "9"}, IvfFlat(nlist=4)),
        (
            {"index_type": "GPU_CAGRA", "graph_degree": "500", "build_algo": "NN_DESCENT"},
            GpuCagra(build_algo="NN_DESCENT"),
        ),
        ({"index_type": "IVF_RABITQ", "nlist": "4"}, None),
        ({}, None),
    ],
)
def test_the_index_that_a_collection_has(description, index):
    assert index_from_description(description) == index


# Engines.


def test_which_engine_has_which_index():
    lite = {
        "AUTOINDEX", "FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "SPARSE_INVERTED_INDEX",
    }  # fmt: skip
    oldest = {
        "AUTOINDEX", "BIN_FLAT", "BIN_IVF_FLAT", "DISKANN", "FLAT", "HNSW", "IVF_FLAT", "IVF_PQ",
        "IVF_SQ8", "SCANN",
    }  # fmt: skip
    sparse = {"SPARSE_INVERTED_INDEX", "SPARSE_WAND", "GPU_CAGRA"}
    assert available_indexes(None) == lite
    assert available_indexes((2, 3)) == available_indexes((2, 3, 5)) == oldest
    assert available_indexes((2, 4, 23)) == oldest | sparse
    assert available_indexes((2, 5)) == available_indexes((3, 0, 1)) == set(INDEXES)


@pytest.mark.parametrize(
    ("index", "version", "complaint"),
    [
        (Scann(), None, "Milvus Lite has no index SCANN; it has AUTOINDEX, FLAT, HNSW, "),
        (HnswSq(), (2, 3, 5), r"Milvus 2\.3\.5 has no index HNSW_SQ; it has AUTOINDEX, "),
        (SparseInvertedIndex(), (2, 3), r"Milvus 2\.3 has no index SPARSE_INVERTED_INDEX"),
        (HnswSq(sq_type="SQ6"), None, "Milvus Lite ignores sq_type of HNSW_SQ"),
        (AutoIndex(level=2), None, "Milvus Lite ignores level of AUTOINDEX"),
        (SparseInvertedIndex(drop_ratio_search=0.1), None, "Milvus Lite ignores drop_ratio_search"),
        (SparseInvertedIndex(bm25_k1=1.2), (2, 4), r"Milvus 2\.4 ignores bm25_k1 of SPARSE"),
    ],
)
def test_an_engine_that_lacks_or_ignores_something_is_named(index, version, complaint):
    with pytest.raises(InvalidConfigError, match=complaint):
        index.check_engine(version)


def test_what_an_engine_heeds_passes():
    Hnsw(m=4, ef_construction=5, ef=6).check_engine(None, {"ef": 9})
    IvfSq8(nlist=4, nprobe=2).check_engine(None, {"nprobe": 1})
    SparseInvertedIndex(bm25_k1=2, bm25_b=0.1, inverted_index_algo="TAAT_NAIVE").check_engine(None)
    HnswSq().check_engine(None)
    for version in ((2, 5), (2, 6, 4), (3, 0)):
        for index_class in INDEXES.values():
            index_class().check_engine(version)


def test_an_override_that_an_engine_ignores_is_refused():
    with pytest.raises(UnsupportedQueryError, match="Milvus Lite ignores level of AUTOINDEX"):
        AutoIndex().check_engine(None, {"level": 5})
    with pytest.raises(UnsupportedQueryError, match=r"Milvus 2\.4 ignores dim_max_score_ratio"):
        SparseWand().check_engine((2, 4), {"dim_max_score_ratio": 1.0})


# Values.


def test_indexes_are_values():
    assert Hnsw(m=4) == Hnsw(m=4) != Hnsw(m=5)
    assert Hnsw() != HnswSq()
    assert len({Hnsw(), Hnsw(), Flat()}) == 2
    assert repr(IvfPq(m=4)).startswith("IvfPq(nlist=128, nprobe=None, ")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Hnsw().m = 4
    for index_class in INDEXES.values():
        assert pickle.loads(pickle.dumps(index_class())) == index_class()


# Engines for real: more rows than the 1,024 below which a server does not index at all.

ROWS, DIMENSION, TOP_K = 2000, 32, 10


def unit_rows():
    rows = np.random.default_rng(7).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


VECTORS = unit_rows()
BITS = np.random.default_rng(7).integers(0, 256, (ROWS, DIMENSION // 8), dtype=np.uint8)
NEAREST = np.argsort(-(VECTORS[:20] @ VECTORS.T), axis=1)[:, :TOP_K]  # of unit rows: by any metric
RUN = uuid4().hex  # servers may serve others at the same time


def connect(uri):
    from pymilvus import MilvusClient

    return MilvusClient(uri, timeout=60)


def build(client, name, index, metric, rows=VECTORS):
    """A collection of `rows`, indexed once they are in, so that the index is theirs."""
    from pymilvus import DataType

    kind = DataType.BINARY_VECTOR if rows.dtype == np.uint8 else DataType.FLOAT_VECTOR
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", kind, dim=DIMENSION)
    client.create_collection(name, schema=schema)
    if len(rows):
        entries = enumerate(as_engines_take_them(rows))
        client.insert(name, [{"id": number, "vector": value} for number, value in entries])
        client.flush(name)
    params = client.prepare_index_params()
    params.add_index("vector", **index.index_params(metric, DIMENSION))
    client.create_index(name, params, timeout=90)  # waits until it is finished
    client.load_collection(name)


def as_engines_take_them(rows):
    return [row.tobytes() for row in rows] if rows.dtype == np.uint8 else rows.tolist()


def search(client, name, index, metric, rows=VECTORS):
    """The ids that a query for each of the first 20 rows finds."""
    found = client.search(
        name,
        as_engines_take_them(rows[:20]),
        limit=TOP_K,
        search_params={"metric_type": metric, "params": index.search_params(TOP_K)},
        consistency_level="Strong",
    )
    return [{hit["id"] for hit in hits} for hits in found]


def recall(client, name, index, metric):
    found = search(client, name, index, metric)
    return (
        sum(len(ids & set(best)) for ids, best in zip(found, NEAREST, strict=True)) / NEAREST.size
    )


@pytest.fixture
def lite(tmp_path):
    from milvus_lite.server_manager import server_manager_instance

    path = str(tmp_path / "rows.db")
    client = connect(path)
    yield client
    client.close()
    server_manager_instance.release_server(path)


@pytest.mark.parametrize(
    ("index", "metric", "lowest_recall"),
    [
        (Flat(), "L2", 1.0),
        (AutoIndex(), "COSINE", 0.95),
        (Hnsw(), "COSINE", 0.95),
        (HnswSq(), "IP", 0.9),
        (IvfFlat(nlist=16), "L2", 0.8),
        (IvfSq8(nlist=16), "COSINE", 0.8),
    ],
)
def test_milvus_lite_builds_and_searches(lite, index, metric, lowest_recall):
    build(lite, "indexed", index, metric)
    assert index_from_description(lite.describe_index("indexed", "vector")) == index
    assert recall(lite, "indexed", index, metric) >= lowest_recall


def test_milvus_lite_heeds_build_parameters(lite):
    starved = Hnsw(m=2, ef_construction=1)
    build(lite, "indexed", starved, "COSINE")
    assert recall(lite, "indexed", starved, "COSINE") < 0.8


FLOATS_ON_SERVER = [
    (Flat(), "L2", 1.0),
    (AutoIndex(), "COSINE", 0.95),
    (Hnsw(), "COSINE", 0.95),
    (IvfFlat(nlist=16), "L2", 0.8),
    (IvfSq8(nlist=16), "COSINE", 0.8),
    (IvfPq(nlist=16, m=16), "L2", 0.6),
    (Scann(nlist=16), "COSINE", 0.8),
]
BITS_ON_SERVER = [(BinFlat(), "HAMMING"), (BinIvfFlat(nlist=16), "JACCARD")]


@pytest.fixture(scope="module")
def server(milvus_server):
    """A client of a server with a collection for each index, built at once to save a minute."""
    client = connect(milvus_server.uri)
    cases = [(index, metric, VECTORS) for index, metric, _ in FLOATS_ON_SERVER]
    cases += [(index, metric, BITS) for index, metric in BITS_ON_SERVER]
    # Without rows: the server of the wheel has no DISKANN in it, and would never finish one.
    cases += [(DiskAnn(), "L2", VECTORS[:0])]
    with ThreadPoolExecutor(len(cases)) as pool:
        building = [pool.submit(build, client, on_server(case[0]), *case) for case in cases]
    for future in building:
        future.result()
    yield client
    for index, *_ in cases:
        client.drop_collection(on_server(index))
    client.close()


def on_server(index):
    return f"indexed_{index.name}_{RUN}"


@pytest.mark.parametrize(("index", "metric", "lowest_recall"), FLOATS_ON_SERVER)
def test_a_server_builds_and_searches(server, index, metric, lowest_recall):
    name = on_server(index)
    assert index_from_description(server.describe_index(name, "vector")) == index
    assert recall(server, name, index, metric) >= lowest_recall


@pytest.mark.parametrize(("index", "metric"), BITS_ON_SERVER)
def test_a_server_builds_and_searches_bits(server, index, metric):
    found = search(server, on_server(index), index, metric, BITS)
    assert all(row in ids for row, ids in enumerate(found))


def test_a_server_takes_diskann(server):
    description = server.describe_index(on_server(DiskAnn()), "vector")
    assert index_from_description(description) == DiskAnn()
