"""Indexes of vector columns: what each takes, and which engine has it.

    index = Hnsw(m=32, ef=128)                    # typed; a value out of range raises here
    index = index_from_name("HNSW", {"M": 32})    # by Milvus's own names
    index.index_params("COSINE", dimension=384)   # arguments of pymilvus's `IndexParams.add_index`
    index.search_params(10, {"ef": 256})          # one query's parameters

Every parameter is checked before anything is sent, because engines do not: a server takes unknown
names in silence and refuses a bad search only once enough rows are indexed; Milvus Lite takes any
name. What an engine lacks or would ignore is refused by `VectorIndex.check_engine`.

Sources: https://milvus.io/docs/index-explained.md and the pages it links to for names, ranges and
versions; the configuration headers of https://github.com/zilliztech/knowhere where those say nothing
or the engine takes less; and what Milvus Lite 3.2 and server 2.3.5 were seen to do.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeAlias

from ragbridge.errors import (
    InvalidConfigError,
    InvalidQueryError,
    UnsupportedQueryError,
    shorten,
)
from ragbridge.stores.base import SimilarityMetric

__all__ = [
    "INDEXES",
    "METRICS",
    "AutoIndex",
    "BinFlat",
    "BinIvfFlat",
    "DiskAnn",
    "Flat",
    "GpuCagra",
    "Hnsw",
    "HnswSq",
    "IvfFlat",
    "IvfPq",
    "IvfSq8",
    "Scann",
    "ServerVersion",
    "SparseInvertedIndex",
    "SparseWand",
    "VectorIndex",
    "VectorKind",
    "available_indexes",
    "index_from_description",
    "index_from_name",
]

_Value: TypeAlias = int | float | bool | str
ServerVersion: TypeAlias = tuple[int, ...] | None
"""A server's version, such as (2, 5); None is Milvus Lite."""

METRICS: Final[Mapping[SimilarityMetric, str]] = MappingProxyType(
    {
        SimilarityMetric.COSINE: "COSINE",
        SimilarityMetric.EUCLIDEAN: "L2",
        SimilarityMetric.DOT_PRODUCT: "IP",
        SimilarityMetric.HAMMING: "HAMMING",
        SimilarityMetric.JACCARD: "JACCARD",
    }
)
"""What Milvus calls the metrics of dense and binary vectors."""

_FLOAT_METRICS: Final = tuple(name for metric, name in METRICS.items() if not metric.is_binary)

_INT_MAX = 2**31 - 1
_OLDEST_SERVER = (2, 3)


class VectorKind(StrEnum):
    """What a vector column holds."""

    FLOAT = "float"
    BINARY = "binary"
    SPARSE = "sparse"


@dataclass(frozen=True, slots=True)
class _Range:
    low: float
    high: float = _INT_MAX
    whole: bool = True
    half_open: bool = False

    def accepts(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self.low <= value < self.high or (value == self.high and not self.half_open)

    def __str__(self) -> str:
        end = f"to below {self.high}" if self.half_open else f"to {self.high}"
        return f"{'an integer' if self.whole else 'a number'} from {self.low} {end}"


@dataclass(frozen=True, slots=True)
class _OneOf:
    choices: tuple[_Value, ...]

    def accepts(self, value: object) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in self.choices)

    def __str__(self) -> str:
        return " or ".join(repr(choice) for choice in self.choices)


_YES_NO = _OneOf((True, False))


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter.

    Attributes:
        name: Milvus's own.
        allowed: What it may be.
        optional: None leaves it to the engine.
        searching: Sent with each query; otherwise when the index is built.
        at_least_top_k: Engines refuse less than the matches asked for, so it is raised to them.
        since: The first server that heeds it.
        on_lite: Milvus Lite heeds it.
    """

    name: str
    allowed: _Range | _OneOf
    optional: bool
    searching: bool
    at_least_top_k: bool = False
    since: tuple[int, int] = _OLDEST_SERVER
    on_lite: bool = False

    def complaint(self, value: object) -> str | None:
        """What is wrong with `value`, as a sentence."""
        if self.allowed.accepts(value):
            return None
        return f"{self.name} must be {self.allowed}, not {shorten(value)}"


def _build(name: str, allowed: _Range | _OneOf, default: _Value | None, **rest: Any) -> Any:
    parameter = _Parameter(name, allowed, default is None, searching=False, **rest)
    return field(default=default, metadata={"parameter": parameter})


def _search(name: str, allowed: _Range | _OneOf, default: _Value | None, **rest: Any) -> Any:
    parameter = _Parameter(name, allowed, default is None, searching=True, **rest)
    return field(default=default, metadata={"parameter": parameter})


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """An index of a vector column with its parameters: the base of the classes below.

    Search parameters are the defaults of every query; None leaves a parameter to the engine. Those
    that engines want no smaller than the number of matches (`ef`, `search_list`, …) are raised to it.

    Attributes:
        name: Milvus's `index_type`.
        kinds: The columns that it is for.
        metrics: Milvus's `metric_type`s that it serves.
        since: The first server that has it.
        on_lite: Milvus Lite has it.

    Raises:
        InvalidConfigError: a parameter is out of its range, or does not go with another.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[VectorKind, ...]] = (VectorKind.FLOAT,)
    metrics: ClassVar[tuple[str, ...]] = _FLOAT_METRICS
    since: ClassVar[tuple[int, int]] = _OLDEST_SERVER
    on_lite: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for attribute, parameter in self._parameters().items():
            value = getattr(self, attribute)
            if value is None and parameter.optional:
                continue
            if complaint := parameter.complaint(value):
                raise InvalidConfigError(f"{self.name}: {complaint}")
        if conflict := self._conflict(self._values()):
            raise InvalidConfigError(f"{self.name}: {conflict}")

    def index_params(self, metric: str, dimension: int | None = None) -> dict[str, Any]:
        """The arguments of pymilvus's `IndexParams.add_index`, but for the field's name.

        The parameters are nested twice: pymilvus flattens one level, and Milvus Lite reads only what
        then still lies under `params` (M, efConstruction, nlist, bm25_k1 and bm25_b).

        Args:
            metric: Milvus's name, one of `metrics`.
            dimension: The column's; None for sparse vectors.

        Raises:
            InvalidConfigError: the index does not serve that metric or dimension.
        """
        if metric not in self._metrics():
            raise InvalidConfigError(
                f"{self!r} serves the metrics {', '.join(self._metrics())}, not {shorten(metric)}"
            )
        if dimension is None and VectorKind.SPARSE not in self.kinds:
            raise InvalidConfigError(f"{self!r} needs the column's dimension")
        if dimension is not None and dimension % self._divisor():
            raise InvalidConfigError(
                f"{self!r} needs a dimension that {self._divisor()} divides, not {dimension}"
            )
        searching = {p.name for p in self._parameters().values() if p.searching}
        values = {name: v for name, v in self._values().items() if name not in searching}
        params = self._column_defaults(dimension or 0) | values
        return {"index_type": self.name, "metric_type": metric, "params": {"params": params}}

    def search_params(
        self, top_k: int, overrides: Mapping[str, Any] | None = None
    ) -> dict[str, _Value]:
        """What goes under `params` in the `search_params` of one query.

        Args:
            top_k: How many matches are asked of the engine.
            overrides: Search parameters of this query, by Milvus's names.

        Raises:
            UnsupportedQueryError: the index has no such search parameter; the message lists them.
            InvalidQueryError: a value is out of its range.
        """
        if overrides is None:
            return dict(_usual_params(self, top_k))
        return self._params(top_k, overrides)

    def _params(self, top_k: int, overrides: Mapping[str, Any]) -> dict[str, _Value]:
        values = self._query_defaults(top_k) | self._values() | self._checked(overrides)
        if conflict := self._conflict(values):
            raise InvalidQueryError(f"{self.name}: {conflict}")
        return {
            parameter.name: _raised(values[parameter.name], parameter, top_k)
            for parameter in self._parameters().values()
            if parameter.searching and parameter.name in values
        }

    def check_engine(
        self, server_version: ServerVersion, overrides: Mapping[str, Any] | None = None
    ) -> None:
        """Refuse what an engine lacks, or would ignore in silence.

        Args:
            server_version: The server's, such as (2, 5); None is Milvus Lite.
            overrides: Search parameters of a query, by Milvus's names.

        Raises:
            InvalidConfigError: the engine has no such index, or ignores a parameter that was set.
            UnsupportedQueryError: the engine ignores one of `overrides`.
        """
        engine = _engine_name(server_version)
        available = available_indexes(server_version)
        if self.name not in available:
            raise InvalidConfigError(
                f"{engine} has no index {self.name}; it has {', '.join(sorted(available))}"
            )
        defaults = type(self)()
        for attribute, parameter in self._parameters().items():
            if _is_there(parameter, server_version):
                continue
            if parameter.name in (overrides or ()):
                raise UnsupportedQueryError(f"{engine} ignores {parameter.name} of {self.name}")
            if getattr(self, attribute) != getattr(defaults, attribute):
                raise InvalidConfigError(f"{engine} ignores {parameter.name} of {self.name}")

    @classmethod
    @cache
    def _parameters(cls) -> Mapping[str, _Parameter]:
        """The parameters by attribute."""
        return MappingProxyType({f.name: f.metadata["parameter"] for f in fields(cls)})

    def _values(self) -> dict[str, Any]:
        """Every parameter that is set, by Milvus's names."""
        pairs = (
            (parameter.name, getattr(self, attribute))
            for attribute, parameter in self._parameters().items()
        )
        return {name: value for name, value in pairs if value is not None}

    def _checked(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(overrides, Mapping):
            raise InvalidQueryError(
                f"search parameters must be a mapping of names, not {shorten(overrides)}"
            )
        known = {p.name: p for p in self._parameters().values() if p.searching}
        for name, value in overrides.items():
            if name not in known:
                raise UnsupportedQueryError(
                    f"{self.name} has no search parameter {name!r}; it has {_listed(known)}"
                )
            if complaint := known[name].complaint(value):
                raise InvalidQueryError(f"{self.name}: {complaint}")
        return dict(overrides)

    # What single indexes add to the rules of their parameters.

    def _metrics(self) -> tuple[str, ...]:
        return self.metrics

    def _divisor(self) -> int:
        """The dimension must be a multiple of this."""
        return 1

    def _conflict(self, _values: Mapping[str, Any]) -> str | None:
        """Which of these values do not go together, as a sentence."""
        return None

    def _column_defaults(self, _dimension: int) -> dict[str, Any]:
        """Build parameters that depend on the column."""
        return {}

    def _query_defaults(self, _top_k: int) -> dict[str, Any]:
        """Search parameters that depend on the query or on other parameters."""
        return {}


@lru_cache
def _usual_params(index: VectorIndex, top_k: int) -> dict[str, _Value]:
    return index._params(top_k, {})


def _raised(value: Any, parameter: _Parameter, top_k: int) -> _Value:
    chosen: _Value = max(value, top_k) if parameter.at_least_top_k else value
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat(VectorIndex):
    """Compares with every row: exact, and slow on many rows."""

    name: ClassVar[str] = "FLAT"
    on_lite: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoIndex(VectorIndex):
    """The engine's own choice: HNSW for float vectors on Milvus Lite and on self-hosted servers.

    Attributes:
        ef: Where the choice is HNSW: candidates kept while searching.
        level: On Zilliz Cloud: from 1 for speed to 10 for recall.
    """

    name: ClassVar[str] = "AUTOINDEX"
    kinds: ClassVar[tuple[VectorKind, ...]] = tuple(VectorKind)
    metrics: ClassVar[tuple[str, ...]] = (*METRICS.values(), "BM25")
    on_lite: ClassVar[bool] = True

    ef: int | None = _search("ef", _Range(1), None, at_least_top_k=True, on_lite=True)
    level: int | None = _search("level", _Range(1, 10), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hnsw(VectorIndex):
    """A layered graph of near neighbours: fast, with high recall, at the price of memory.

    Attributes:
        m: `M`, neighbours of each node, 2 to 2048.
        ef_construction: `efConstruction`, candidates kept while building.
        ef: Candidates kept while searching.

    Source: Malkov and Yashunin, "Efficient and Robust Approximate Nearest Neighbor Search Using
    Hierarchical Navigable Small World Graphs", IEEE TPAMI 2020.
    """

    name: ClassVar[str] = "HNSW"
    on_lite: ClassVar[bool] = True

    m: int = _build("M", _Range(2, 2048), 16, on_lite=True)
    ef_construction: int = _build("efConstruction", _Range(1), 200, on_lite=True)
    ef: int = _search("ef", _Range(1), 64, at_least_top_k=True, on_lite=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HnswSq(Hnsw):
    """`Hnsw` over numbers of fewer bits: less memory, a little less recall.

    Attributes:
        sq_type: How numbers are stored; SQ4U needs server 2.6.8.
        refine: Keep more exact numbers beside them, to rank the candidates again.
        refine_type: How those are stored.
        refine_k: How many times the matches asked for are ranked again, 1 or more.
    """

    name: ClassVar[str] = "HNSW_SQ"
    since: ClassVar[tuple[int, int]] = (2, 5)

    sq_type: str = _build("sq_type", _OneOf(("SQ4U", "SQ6", "SQ8", "BF16", "FP16")), "SQ8")
    refine: bool = _build("refine", _YES_NO, False)
    refine_type: str | None = _build(
        "refine_type", _OneOf(("SQ6", "SQ8", "BF16", "FP16", "FP32")), None
    )
    refine_k: float | None = _search("refine_k", _Range(1, whole=False), None)

    def _conflict(self, values: Mapping[str, Any]) -> str | None:
        idle = [name for name in ("refine_type", "refine_k") if name in values]
        return f"{idle[0]} needs refine=True" if idle and not self.refine else None


@dataclass(frozen=True, slots=True, kw_only=True)
class IvfFlat(VectorIndex):
    """Clusters of rows, of which a query visits the nearest.

    Attributes:
        nlist: Clusters, 1 to 65536.
        nprobe: Clusters that a query visits, 1 to `nlist`; by default an eighth of them, but eight
            where there are as many.
        max_empty_result_buckets: A range search ends after so many clusters without a match, 1 to
            65535.
    """

    name: ClassVar[str] = "IVF_FLAT"
    on_lite: ClassVar[bool] = True

    nlist: int = _build("nlist", _Range(1, 65536), 128, on_lite=True)
    nprobe: int | None = _search("nprobe", _Range(1, 65536), None, on_lite=True)
    max_empty_result_buckets: int | None = _search(
        "max_empty_result_buckets", _Range(1, 65535), None
    )

    def _query_defaults(self, _top_k: int) -> dict[str, Any]:
        return {"nprobe": min(self.nlist, max(8, self.nlist // 8))}

    def _conflict(self, values: Mapping[str, Any]) -> str | None:
        nprobe = values.get("nprobe", 1)
        if nprobe <= self.nlist:
            return None
        return f"nprobe must be at most nlist ({self.nlist}), not {nprobe}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IvfSq8(IvfFlat):
    """`IvfFlat` over numbers of 8 bits: a quarter of the memory, a little less recall."""

    name: ClassVar[str] = "IVF_SQ8"


@dataclass(frozen=True, slots=True, kw_only=True)
class IvfPq(IvfFlat):
    """`IvfFlat` over vectors cut into parts, each part a code: little memory, less recall.

    Attributes:
        m: Parts of a vector, a divisor of the dimension; by default half of an even dimension.
        nbits: Bits of a part's code, 1 to 24: beyond, no engine can build one.
    """

    name: ClassVar[str] = "IVF_PQ"
    on_lite: ClassVar[bool] = False

    m: int | None = _build("m", _Range(1, 65536), None)
    nbits: int = _build("nbits", _Range(1, 24), 8)

    def _divisor(self) -> int:
        return self.m or 1

    def _column_defaults(self, dimension: int) -> dict[str, Any]:
        return {"m": dimension // 2 if dimension % 2 == 0 else dimension}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scann(IvfFlat):
    """`IvfFlat` over codes that the processor compares many at once, the best compared again exactly.

    The dimension must be even.

    Attributes:
        with_raw_data: Keep the vectors, to compare the best again exactly.
        reorder_k: Candidates to compare again; by default five for each match asked for.

    Source: Guo et al., "Accelerating Large-Scale Inference with Anisotropic Vector Quantization",
    ICML 2020.
    """

    name: ClassVar[str] = "SCANN"
    on_lite: ClassVar[bool] = False

    with_raw_data: bool = _build("with_raw_data", _YES_NO, True)
    reorder_k: int | None = _search("reorder_k", _Range(1), None, at_least_top_k=True)

    def _divisor(self) -> int:
        return 2

    def _query_defaults(self, top_k: int) -> dict[str, Any]:
        return IvfFlat._query_defaults(self, top_k) | {"reorder_k": 5 * top_k}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskAnn(VectorIndex):
    """A graph on disk, for more rows than fit in memory; it is built as the server is configured.

    Attributes:
        search_list: Candidates kept while searching.

    Source: Subramanya et al., "DiskANN: Fast Accurate Billion-point Nearest Neighbor Search on a
    Single Node", NeurIPS 2019.
    """

    name: ClassVar[str] = "DISKANN"

    search_list: int = _search("search_list", _Range(1), 100, at_least_top_k=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCagra(VectorIndex):
    """A graph that a GPU builds and searches; for servers with one.

    Attributes:
        intermediate_graph_degree: Neighbours of each node before pruning.
        graph_degree: Neighbours after it, at most as many.
        build_algo: How the graph is built: IVF_PQ for quality, NN_DESCENT for speed.
        cache_dataset_on_device: Keep the vectors on the GPU, to rank the candidates again.
        adapt_for_cpu: Build on the GPU and search on the CPU.
        itopk_size: Candidates kept while searching.
        search_width: Nodes that a search starts from.
        min_iterations: Of a search; 0 leaves it to the engine.
        max_iterations: Likewise.
        team_size: Threads that compute one distance; 0 leaves it to the engine.
        ef: With `adapt_for_cpu`: candidates kept while searching, by default 64.

    Source: Ootomo et al., "CAGRA: Highly Parallel Graph Construction and Approximate Nearest Neighbor
    Search for GPUs", ICDE 2024.
    """

    name: ClassVar[str] = "GPU_CAGRA"
    since: ClassVar[tuple[int, int]] = (2, 4)

    intermediate_graph_degree: int = _build("intermediate_graph_degree", _Range(1), 128)
    graph_degree: int = _build("graph_degree", _Range(1), 64)
    build_algo: str = _build("build_algo", _OneOf(("IVF_PQ", "NN_DESCENT")), "IVF_PQ")
    cache_dataset_on_device: bool = _build("cache_dataset_on_device", _YES_NO, False)
    adapt_for_cpu: bool = _build("adapt_for_cpu", _YES_NO, False)
    itopk_size: int | None = _search("itopk_size", _Range(1), None, at_least_top_k=True)
    search_width: int | None = _search("search_width", _Range(1), None)
    min_iterations: int | None = _search("min_iterations", _Range(0), None)
    max_iterations: int | None = _search("max_iterations", _Range(0), None)
    team_size: int | None = _search("team_size", _OneOf((0, 2, 4, 8, 16, 32)), None)
    ef: int | None = _search("ef", _Range(1), None, at_least_top_k=True)

    def _conflict(self, values: Mapping[str, Any]) -> str | None:
        if self.graph_degree > self.intermediate_graph_degree:
            return (
                f"graph_degree must be at most intermediate_graph_degree "
                f"({self.intermediate_graph_degree}), not {self.graph_degree}"
            )
        return "ef needs adapt_for_cpu=True" if "ef" in values and not self.adapt_for_cpu else None

    def _query_defaults(self, _top_k: int) -> dict[str, Any]:
        return {"ef": 64} if self.adapt_for_cpu else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class BinFlat(VectorIndex):
    """Compares with every row of packed bits: exact. The dimension must be a multiple of 8."""

    name: ClassVar[str] = "BIN_FLAT"
    kinds: ClassVar[tuple[VectorKind, ...]] = (VectorKind.BINARY,)
    metrics: ClassVar[tuple[str, ...]] = ("HAMMING", "JACCARD", "SUBSTRUCTURE", "SUPERSTRUCTURE")

    def _divisor(self) -> int:
        return 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BinIvfFlat(IvfFlat):
    """`IvfFlat` over packed bits. The dimension must be a multiple of 8."""

    name: ClassVar[str] = "BIN_IVF_FLAT"
    kinds: ClassVar[tuple[VectorKind, ...]] = (VectorKind.BINARY,)
    metrics: ClassVar[tuple[str, ...]] = ("HAMMING", "JACCARD")
    on_lite: ClassVar[bool] = False

    def _divisor(self) -> int:
        return 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseInvertedIndex(VectorIndex):
    """For each position of a sparse vector the rows that have it; also what BM25 runs on.

    Attributes:
        inverted_index_algo: How the lists are walked: DAAT_MAXSCORE for many terms or large `top_k`,
            DAAT_WAND for few, TAAT_NAIVE exactly. Milvus Lite has TAAT_NAIVE only, servers before
            2.5 have none of them.
        bm25_k1: With the metric BM25: how soon more of a term stops counting, 0 to 3.
        bm25_b: With the metric BM25: how far long texts are held back, 0 to 1.
        drop_ratio_build: The share of smallest values left out of the index, 0 to below 1; ignored
            from server 2.5.4 on.
        drop_ratio_search: The share of the query's smallest values left out, 0 to below 1.
        dim_max_score_ratio: Below 1 prunes more than is safe, above 1 less, 0.5 to 1.3.
    """

    name: ClassVar[str] = "SPARSE_INVERTED_INDEX"
    kinds: ClassVar[tuple[VectorKind, ...]] = (VectorKind.SPARSE,)
    metrics: ClassVar[tuple[str, ...]] = ("IP", "BM25")
    since: ClassVar[tuple[int, int]] = (2, 4)
    on_lite: ClassVar[bool] = True

    inverted_index_algo: str | None = _build(
        "inverted_index_algo",
        _OneOf(("DAAT_MAXSCORE", "DAAT_WAND", "TAAT_NAIVE")),
        None,
        since=(2, 5),
        on_lite=True,
    )
    bm25_k1: float | None = _build(
        "bm25_k1", _Range(0, 3, whole=False), None, since=(2, 5), on_lite=True
    )
    bm25_b: float | None = _build(
        "bm25_b", _Range(0, 1, whole=False), None, since=(2, 5), on_lite=True
    )
    drop_ratio_build: float | None = _build(
        "drop_ratio_build", _Range(0, 1, whole=False, half_open=True), None
    )
    drop_ratio_search: float | None = _search(
        "drop_ratio_search", _Range(0, 1, whole=False, half_open=True), None
    )
    dim_max_score_ratio: float | None = _search(
        "dim_max_score_ratio", _Range(0.5, 1.3, whole=False), None, since=(2, 5)
    )

    def _metrics(self) -> tuple[str, ...]:
        tuned = self.bm25_k1 is not None or self.bm25_b is not None
        return ("BM25",) if tuned else self.metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseWand(SparseInvertedIndex):
    """What `SparseInvertedIndex` with DAAT_WAND is called on servers before 2.5."""

    name: ClassVar[str] = "SPARSE_WAND"
    on_lite: ClassVar[bool] = False


INDEXES: Final[Mapping[str, type[VectorIndex]]] = MappingProxyType(
    {
        index_class.name: index_class
        for index_class in (
            Flat,
            AutoIndex,
            Hnsw,
            HnswSq,
            IvfFlat,
            IvfSq8,
            IvfPq,
            Scann,
            DiskAnn,
            GpuCagra,
            BinFlat,
            BinIvfFlat,
            SparseInvertedIndex,
            SparseWand,
        )
    }
)
"""The index classes by Milvus's names."""


def available_indexes(server_version: ServerVersion) -> frozenset[str]:
    """The names of the indexes that an engine has.

    A server may have been built without some: GPU_CAGRA needs a GPU build, and the servers of the
    wheel `milvus` (their versions end in `-lite`) accept DISKANN, but try to build it for ever.

    Args:
        server_version: The server's, such as (2, 5); None is Milvus Lite, which takes any other name
            too and then compares with every row.
    """
    return frozenset(name for name, index in INDEXES.items() if _is_there(index, server_version))


def index_from_name(name: str, params: Mapping[str, Any] | None = None) -> VectorIndex:
    """An index by Milvus's names, in any case; "AUTO" is short for "AUTOINDEX".

    Args:
        name: Milvus's `index_type`.
        params: Build and search parameters by Milvus's names.

    Raises:
        InvalidConfigError: there is no such index or parameter, or a value is out of its range; the
            message lists what there is.
    """
    index_class = _index_class(name)
    attributes = {p.name: attribute for attribute, p in index_class._parameters().items()}
    if not isinstance(params, Mapping | None):
        raise InvalidConfigError(f"params must be a mapping of names, not {shorten(params)}")
    for given in params or {}:
        if given not in attributes:
            raise InvalidConfigError(
                f"{index_class.name} has no parameter {given!r}; it has {_listed(attributes)}"
            )
    return index_class(**{attributes[given]: value for given, value in (params or {}).items()})


def index_from_description(description: Mapping[str, Any]) -> VectorIndex | None:
    """The index that a collection has already.

    Another client may have built it beyond the ranges here. The index is there nevertheless, and
    only its search parameters matter now, so what would be refused is left at its default.

    Args:
        description: What pymilvus's `describe_index` returns: parameters by name, as text, or under
            `params`.

    Returns:
        None where the index is of a type that is not in `INDEXES`.
    """
    index_class = INDEXES.get(str(description.get("index_type")).upper())
    if index_class is None:
        return None
    nested = _parsed(description.get("params"))
    stored = {**description, **(nested if isinstance(nested, Mapping) else {})}
    built = {
        attribute: _parsed(stored[parameter.name])
        for attribute, parameter in index_class._parameters().items()
        if parameter.name in stored and not parameter.searching
    }
    return _index_with_what_passes(index_class, built)


def _index_class(name: object) -> type[VectorIndex]:
    wanted = name.strip().upper() if isinstance(name, str) else ""
    index_class = INDEXES.get({"AUTO": "AUTOINDEX"}.get(wanted, wanted))
    if index_class is None:
        raise InvalidConfigError(f"index must be one of {_listed(INDEXES)}, not {shorten(name)}")
    return index_class


def _is_there(thing: _Parameter | type[VectorIndex], server_version: ServerVersion) -> bool:
    return thing.on_lite if server_version is None else server_version >= thing.since


def _engine_name(server_version: ServerVersion) -> str:
    if server_version is None:
        return "Milvus Lite"
    return f"Milvus {'.'.join(map(str, server_version))}"


def _index_with_what_passes(
    index_class: type[VectorIndex], built: Mapping[str, Any]
) -> VectorIndex:
    index = index_class()
    for attribute, value in built.items():
        with suppress(InvalidConfigError):
            index = replace(index, **{attribute: value})
    return index


def _parsed(value: object) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"
