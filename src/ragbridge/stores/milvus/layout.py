"""What a collection looks like: its fields and indexes, planned or read off one that exists."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ragbridge.errors import InvalidConfigError, InvalidEmbeddingError, shorten
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import Capability, Leg, SimilarityMetric
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.clients import import_pymilvus
from ragbridge.stores.milvus.columns import (
    Column,
    JsonIndex,
    columns_from_json,
    columns_to_json,
)
from ragbridge.stores.milvus.indexes import (
    METRICS,
    SparseInvertedIndex,
    VectorIndex,
    index_from_description,
)

if TYPE_CHECKING:
    from ragbridge.stores.milvus.foreign.layouts import CollectionLayout
    from ragbridge.stores.milvus.foreign.opened import Opened

ID: Final = "id"
DOCUMENT_ID: Final = "document_id"
VECTOR: Final = "vector"
SPARSE: Final = "sparse"
CONTENT: Final = "content"
TERMS: Final = "terms"
BM25: Final = "bm25"
METADATA: Final = "metadata"
CHUNK: Final = "chunk"
FRAMEWORK_DATA: Final = "framework_data"
DELETED: Final = "deleted"
TENANT: Final = "tenant"

LEG_FIELDS: Final[Mapping[Leg, str]] = MappingProxyType(
    {Leg.DENSE: VECTOR, Leg.SPARSE: SPARSE, Leg.FULL_TEXT: BM25}
)
"""The field that each leg searches; in collections of other tools it has another name."""

TEXT_LENGTHS: Final[Mapping[str, int]] = MappingProxyType(
    {ID: 512, DOCUMENT_ID: 1_024, CONTENT: 65_535, TERMS: 65_535}
)
"""How long the texts may be; see `Engine.counts_bytes`."""

MOST_TENANT_BYTES: Final = 256
"""Of a tenant's name, which stands in front of ids with each byte of it as three at the most."""

_FIELDS: Final = frozenset({ID, DOCUMENT_ID, CONTENT, METADATA, CHUNK, FRAMEWORK_DATA, DELETED})

# Properties of the collection
_FULL_TEXT: Final = "ragbridge.full_text"
_METADATA_FIELDS: Final = "ragbridge.metadata_fields"


@dataclass(frozen=True, slots=True)
class Schema:
    """The fields that not every collection has.

    Attributes:
        shape: The vectors that every row brings.
        full_text: How texts are analysed; None where they are not searched.
        has_terms: They are analysed by ragbridge, into a field of its own; otherwise by the engine.
        columns: Those of declared metadata.
        has_tenants: Each row is a tenant's.
        foreign: Another tool made it, and laid it out in its own way.
    """

    shape: VectorShape
    full_text: FullTextOptions | None = None
    has_terms: bool = False
    columns: tuple[Column, ...] = ()
    has_tenants: bool = False
    foreign: "Opened | None" = None

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs that it serves."""
        there = (self.shape.dimension is not None, self.shape.sparse, self.full_text is not None)
        return tuple(leg for leg, is_there in zip(Leg, there, strict=True) if is_there)

    @property
    def columns_by_key(self) -> Mapping[str, Column]:
        """Those of declared metadata, by key."""
        return {column.key: column for column in self.columns}

    @property
    def vectors(self) -> tuple[str, ...]:
        """The fields of the vectors that rows bring."""
        return tuple(LEG_FIELDS[leg] for leg in self.legs if leg is not Leg.FULL_TEXT)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it serves."""
        several = {Capability.HYBRID} if len(self.legs) > 1 else set()
        return frozenset(several.union(map(Capability, self.legs)))

    def searched(self, text: str) -> str:
        """What the engine is given of a text, of a row or of a query."""
        if self.full_text is None or not self.has_terms:
            return text
        return " ".join(self.full_text.tokenize(text))


@dataclass(frozen=True, slots=True)
class Layout:
    """A collection's fields, and how its vectors are compared.

    Attributes:
        schema: The fields.
        metric: How dense or binary vectors are compared; the store's own where there are none.
        index: The index over them, or None where there is none, or one of an unknown kind.
    """

    schema: Schema
    metric: SimilarityMetric
    index: VectorIndex | None

    @property
    def shape(self) -> VectorShape:
        """The vectors that every row brings."""
        return self.schema.shape

    def index_of(self, leg: Leg) -> VectorIndex | None:
        """The index that a leg searches; None where it is of an unknown kind."""
        if leg is Leg.DENSE:
            return self.index
        options = self.schema.full_text if leg is Leg.FULL_TEXT else None
        return SparseInvertedIndex() if options is None else _text_index(options)

    @property
    def is_exact(self) -> bool:
        """Whether a search by dense vector compares with every row."""
        return self.index is not None and self.index.name in ("FLAT", "BIN_FLAT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a store was told of its collection; None leaves it to the engine.

    Attributes:
        metric: How dense or binary vectors are compared.
        index: The index over them.
        full_text: Whether texts are searched, or how.
        columns: Those of declared metadata.
        json_indexes: Over paths in metadata.
        has_tenants: Each row is a tenant's.
        has_partitions: Rows lie in a partition of the store's choice.
        opens: It must be there, and may be another tool's, which laid it out so; True: find out how.
    """

    metric: SimilarityMetric | None = None
    index: VectorIndex | None = None
    full_text: FullTextOptions | bool | None = None
    columns: tuple[Column, ...] | None = None
    json_indexes: tuple[JsonIndex, ...] = ()
    has_tenants: bool = False
    has_partitions: bool = False
    opens: "CollectionLayout | bool" = False

    def check_engine(self, engine: Engine) -> None:
        """Refuse what an engine lacks, whatever the collection.

        Raises:
            InvalidConfigError: see above.
        """
        if self.has_partitions and not engine.partitions:
            raise InvalidConfigError(
                f"{engine.name} counts and deletes across partitions; leave partition out, and tell "
                "rows apart by tenant or by metadata"
            )
        if self.json_indexes and not engine.indexes_json:
            raise InvalidConfigError(
                f"{engine.name} has no indexes of paths in JSON; leave json_indexes out, and declare "
                "keys that are filtered often by metadata_fields"
            )

    def schema(self, shape: VectorShape, engine: Engine) -> Schema:
        """The fields of a new collection.

        Raises:
            InvalidConfigError: the engine has no full text though it was asked for, or has it in
                another way.
            InvalidEmbeddingError: the engine has no such vectors.
        """
        options = self._options(engine)
        if shape.dimension is None and not shape.sparse and options is None:
            raise InvalidEmbeddingError(
                "the entries have no vector, and their texts are not searched"
                f"{'' if self.full_text is False else ' by ' + engine.name}; give them vectors"
            )
        has_terms = options is not None and not (options.is_plain and engine.splits_words)
        schema = Schema(shape, options, has_terms, self.columns or (), self.has_tenants)
        if not schema.capabilities <= engine.capabilities:
            raise InvalidEmbeddingError(
                f"the entries have {shape}, but {engine.name} serves "
                f"{', '.join(sorted(engine.capabilities))} only"
            )
        if shape.binary and engine.binary_index is None:
            raise InvalidEmbeddingError(
                f"the entries have {shape}, but {engine.name} has no binary vectors; use a Milvus "
                "server, or InMemoryVectorStore"
            )
        if engine.max_dimension is not None and (shape.dimension or 0) > engine.max_dimension:
            raise InvalidEmbeddingError(
                f"the vectors have dimension {shape.dimension}, but {engine.name} takes at most "
                f"{engine.max_dimension}"
            )
        return schema

    def capabilities(self, engine: Engine) -> frozenset[Capability]:
        """What the collection could serve."""
        without = {Capability.FULL_TEXT} if self.full_text is False else set()
        return engine.capabilities - without

    def layout(self, schema: Schema, engine: Engine) -> Layout:
        """The collection with these fields.

        Raises:
            InvalidConfigError: the engine has no such index.
        """
        metric = self.metric or SimilarityMetric.COSINE
        if schema.shape.dimension is None:
            return Layout(schema, metric, None)
        if metric.is_binary is not schema.shape.binary:  # `check` tells what the collection's is
            metric = SimilarityMetric.HAMMING if schema.shape.binary else SimilarityMetric.COSINE
        if self.index is not None:
            self.index.check_engine(engine.version)
        default = engine.binary_index if schema.shape.binary else engine.index
        return Layout(schema, metric, self.index or default)

    def check(self, name: str, layout: Layout) -> None:
        """Refuse a collection that was made otherwise.

        Raises:
            InvalidConfigError: see above.
        """
        if self.metric is not None and layout.metric is not self.metric:
            raise InvalidConfigError(
                f"the collection {name!r} was made with metric={str(layout.metric)!r} "
                f"({METRICS[layout.metric]}), not {str(self.metric)!r}; leave metric out, or give "
                "another collection_name"
            )
        wanted, there = self.index, layout.index
        if wanted is not None and there is not None and wanted.name != there.name:
            raise InvalidConfigError(
                f"the collection {name!r} has the index {there.name}, not {wanted.name}; leave index "
                "out, or give another collection_name"
            )
        if not self._agrees(layout.schema.full_text):
            raise InvalidConfigError(
                f"the collection {name!r} was made with full_text={layout.schema.full_text or False}, "
                f"not {self.full_text}; leave full_text out, or give another collection_name"
            )
        self._check_columns(name, layout.schema)
        if self.has_tenants is not layout.schema.has_tenants:
            raise InvalidConfigError(
                f"the collection {name!r} was made "
                + (
                    "without tenants; leave tenant out"
                    if self.has_tenants
                    else "for tenants; give one"
                )
                + ", or another collection_name"
            )

    def _check_columns(self, name: str, schema: Schema) -> None:
        wanted, there = columns_to_json(self.columns or ()), columns_to_json(schema.columns)
        if self.columns is not None and wanted != there:
            raise InvalidConfigError(
                f"the collection {name!r} was made with metadata_fields={there}, not {wanted}; leave "
                "metadata_fields out, or give another collection_name"
            )

    def _agrees(self, full_text: FullTextOptions | None) -> bool:
        if isinstance(self.full_text, bool):
            return self.full_text is (full_text is not None)
        return self.full_text is None or self.full_text == full_text

    def _options(self, engine: Engine) -> FullTextOptions | None:
        if self.full_text is False:
            return None
        if Capability.FULL_TEXT not in engine.capabilities:
            if self.full_text is None:
                return None
            raise InvalidConfigError(
                f"{engine.name} has no full-text search; leave full_text out, or use Milvus Lite or a "
                "newer server"
            )
        options = self.full_text if isinstance(self.full_text, FullTextOptions) else None
        return _check_weights(options or FullTextOptions(), engine)


def check_full_text(value: object) -> FullTextOptions | bool | None:
    """`value` as what a store is told about full text.

    Raises:
        InvalidConfigError: anything else.
    """
    if value is None or isinstance(value, FullTextOptions | bool):
        return value
    raise InvalidConfigError(
        f"full_text must be FullTextOptions, True, False or None, not {shorten(value)}"
    )


def new_collection(pymilvus: Any, schema: Schema, engine: Engine) -> dict[str, Any]:
    """What `create_collection` takes apart from the name."""
    kinds = pymilvus.DataType
    made = pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    prefix = 3 * MOST_TENANT_BYTES + 1 if schema.has_tenants else 0
    made.add_field(ID, kinds.VARCHAR, is_primary=True, max_length=TEXT_LENGTHS[ID] + prefix)
    made.add_field(DOCUMENT_ID, kinds.VARCHAR, max_length=TEXT_LENGTHS[DOCUMENT_ID])
    if schema.shape.dimension is not None:
        kind = kinds.BINARY_VECTOR if schema.shape.binary else kinds.FLOAT_VECTOR
        made.add_field(VECTOR, kind, dim=schema.shape.dimension)
    if schema.shape.sparse:
        made.add_field(SPARSE, kinds.SPARSE_FLOAT_VECTOR)
    _add_texts(made, schema, engine, pymilvus)
    made.add_field(METADATA, kinds.JSON)
    made.add_field(CHUNK, kinds.JSON)
    made.add_field(FRAMEWORK_DATA, kinds.JSON)
    made.add_field(DELETED, kinds.BOOL)
    if schema.has_tenants:
        length, is_key = MOST_TENANT_BYTES, engine.partition_keys
        made.add_field(TENANT, kinds.VARCHAR, max_length=length, is_partition_key=is_key)
    for column in schema.columns:
        made.add_field(column.value, kinds[column.milvus_type], **column.options)
        made.add_field(column.state, kinds.INT8)
    _check_fields(made, schema, engine)
    return {"schema": made, "properties": _properties(schema)}


def index_params(
    pymilvus: Any, layout: Layout, engine: Engine, json_indexes: Iterable[JsonIndex] = ()
) -> dict[str, Any]:
    """The indexes of a collection, by name; but for those of JSON, that is the field's.

    Raises:
        InvalidConfigError: the index does not serve the metric or the dimension.
    """
    wanted = _scalar_indexes(layout.schema, engine)
    if layout.index is not None:
        metric = METRICS[layout.metric]
        wanted[VECTOR] = layout.index.index_params(metric, layout.shape.dimension)
    if layout.shape.sparse:
        wanted[SPARSE] = SparseInvertedIndex().index_params("IP")
    if layout.schema.full_text is not None:
        wanted[BM25] = _text_index(layout.schema.full_text).index_params("BM25")
    fields = {name: name for name in wanted}
    for each in json_indexes:
        fields[each.name] = METADATA
        wanted[each.name] = each.index_params(METADATA)
    made = {name: pymilvus.MilvusClient.prepare_index_params() for name in wanted}
    for name, arguments in wanted.items():
        made[name].add_index(fields[name], index_name=name, **arguments)
    return made


def is_own(description: Mapping[str, Any]) -> bool:
    """Whether ragbridge made the collection of which `describe_collection` returns this."""
    names = {field["name"] for field in description["fields"]}
    return names >= _FIELDS and bool(description.get("enable_dynamic_field"))


def read_schema(name: str, description: Mapping[str, Any]) -> Schema:
    """The fields of a collection.

    Args:
        name: The collection's.
        description: What `describe_collection` returns.

    Raises:
        InvalidConfigError: it was not made by ragbridge.
    """
    fields = {field["name"]: field for field in description["fields"]}
    missing = sorted(_FIELDS - fields.keys())
    if missing or not description.get("enable_dynamic_field"):
        raise InvalidConfigError(
            f"the collection {name!r} was not made by ragbridge: it has no "
            f"{', '.join(missing) or 'dynamic fields'}; use another collection_name, or open it as it "
            "is by MilvusVectorStore.open"
        )
    dimension = int(fields[VECTOR]["params"]["dim"]) if VECTOR in fields else None
    binary = import_pymilvus().DataType.BINARY_VECTOR
    is_binary = VECTOR in fields and fields[VECTOR]["type"] == binary
    recorded = description.get("properties") or {}
    full_text = json.loads(recorded.get(_FULL_TEXT, "{}"))
    return Schema(
        VectorShape(dimension, sparse=SPARSE in fields, binary=is_binary),
        FullTextOptions(**full_text) if BM25 in fields else None,
        TERMS in fields,
        columns_from_json(json.loads(recorded.get(_METADATA_FIELDS, "{}"))),
        TENANT in fields,
    )


def read_layout(name: str, plan: Layout, index: Mapping[str, Any]) -> Layout:
    """The layout of a collection.

    Args:
        name: The collection's.
        plan: What it would look like, had the store made it.
        index: What `describe_index` returns for its dense or binary vectors.

    Raises:
        InvalidConfigError: it compares vectors in a way that no store does.
    """
    metrics = {milvus: metric for metric, milvus in METRICS.items()}
    metric = metrics.get(str(index.get("metric_type")).upper())
    if metric is None:
        raise InvalidConfigError(
            f"the collection {name!r} compares vectors by {index.get('metric_type')}, which is none of "
            f"{', '.join(METRICS.values())}"
        )
    return Layout(plan.schema, metric, index_from_description(index))


def _add_texts(made: Any, schema: Schema, engine: Engine, pymilvus: Any) -> None:
    text = pymilvus.DataType.VARCHAR
    if schema.full_text is None:
        made.add_field(CONTENT, text, max_length=TEXT_LENGTHS[CONTENT])
        return
    searched = {"enable_analyzer": True, "analyzer_params": dict(engine.text_analyzer)}
    if schema.has_terms:
        made.add_field(CONTENT, text, max_length=TEXT_LENGTHS[CONTENT])
        made.add_field(TERMS, text, max_length=TEXT_LENGTHS[TERMS], **searched)
    else:
        made.add_field(CONTENT, text, max_length=TEXT_LENGTHS[CONTENT], **searched)
    made.add_field(BM25, pymilvus.DataType.SPARSE_FLOAT_VECTOR)
    function = pymilvus.Function(
        name=BM25,
        function_type=pymilvus.FunctionType.BM25,
        input_field_names=[TERMS if schema.has_terms else CONTENT],
        output_field_names=[BM25],
    )
    made.add_function(function)


def _check_fields(made: Any, schema: Schema, engine: Engine) -> None:
    count = len(made.fields)
    if engine.max_fields is not None and count > engine.max_fields:
        most = len(schema.columns) - (count - engine.max_fields + 1) // 2
        raise InvalidConfigError(
            f"metadata_fields declares {len(schema.columns)} keys, but this collection can have {most} "
            f"on {engine.name}; leave those out that are filtered seldom"
        )


def _scalar_indexes(schema: Schema, engine: Engine) -> dict[str, dict[str, Any]]:
    by_type = {
        str: engine.text_index,
        int: engine.number_index,
        float: engine.number_index,
        bool: engine.flag_index,
    }
    wanted = {DOCUMENT_ID: engine.text_index, DELETED: engine.flag_index}
    if schema.has_tenants:
        wanted[TENANT] = engine.text_index
    for column in schema.columns:
        wanted[column.value], wanted[column.state] = by_type[column.type], engine.number_index
    return {field: {"index_type": each} for field, each in wanted.items() if each is not None}


def _properties(schema: Schema) -> dict[str, str]:
    made = {}
    if schema.full_text is not None:
        made[_FULL_TEXT] = json.dumps(schema.full_text.to_dict())
    if schema.columns:
        made[_METADATA_FIELDS] = json.dumps(columns_to_json(schema.columns))
    return made


def _text_index(options: FullTextOptions) -> SparseInvertedIndex:
    return SparseInvertedIndex(bm25_k1=options.k1, bm25_b=options.b)


def _check_weights(options: FullTextOptions, engine: Engine) -> FullTextOptions:
    _text_index(options)
    if not options.k1 and not engine.takes_zero_k1:
        raise InvalidConfigError(f"full_text: {engine.name} takes no k1 of 0; take a small one")
    return options
