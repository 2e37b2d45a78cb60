"""What a collection looks like: its fields and indexes, made or read off one that exists."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from ragbridge.errors import InvalidConfigError, InvalidEmbeddingError, shorten
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import SimilarityMetric
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.indexes import METRICS, VectorIndex, index_from_description

ID: Final = "id"
DOCUMENT_ID: Final = "document_id"
VECTOR: Final = "vector"
CONTENT: Final = "content"
METADATA: Final = "metadata"
CHUNK: Final = "chunk"
FRAMEWORK_DATA: Final = "framework_data"
DELETED: Final = "deleted"

TEXT_LENGTHS: Final[Mapping[str, int]] = MappingProxyType(
    {ID: 512, DOCUMENT_ID: 1_024, CONTENT: 65_535}
)
"""How long the texts may be; see `Engine.counts_bytes`."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_FIELDS: Final = frozenset(
    {ID, DOCUMENT_ID, VECTOR, CONTENT, METADATA, CHUNK, FRAMEWORK_DATA, DELETED}
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What was read off a collection.

    Attributes:
        dimension: Of its dense vectors.
        metric: How they are compared.
        index: The index over them, or None where it is of an unknown kind.
        is_exact: The index compares with every row.
    """

    dimension: int
    metric: SimilarityMetric
    index: VectorIndex | None

    @property
    def shape(self) -> VectorShape:
        """The vectors that every row has."""
        return VectorShape(self.dimension, sparse=False)

    @property
    def is_exact(self) -> bool:
        """Whether a search compares with every row."""
        return self.index is not None and self.index.name == "FLAT"


def check_collection_name(name: object) -> str:
    """`name` as the name of a collection.

    Raises:
        InvalidConfigError: it breaks the rule, which the message says.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidConfigError(
        "collection_name must be 1 to 255 letters (A-Z, a-z), digits and underscores, the first no "
        f"digit, not {shorten(name)}"
    )


def make_schema(pymilvus: Any, dimension: int, engine: Engine) -> Any:
    """The schema of a new collection.

    Raises:
        InvalidEmbeddingError: the engine has no vectors of that dimension.
    """
    if engine.max_dimension is not None and dimension > engine.max_dimension:
        raise InvalidEmbeddingError(
            f"the vectors have dimension {dimension}, but {engine.name} takes at most "
            f"{engine.max_dimension}"
        )
    kinds = pymilvus.DataType
    schema = pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field(ID, kinds.VARCHAR, is_primary=True, max_length=TEXT_LENGTHS[ID])
    schema.add_field(DOCUMENT_ID, kinds.VARCHAR, max_length=TEXT_LENGTHS[DOCUMENT_ID])
    schema.add_field(VECTOR, kinds.FLOAT_VECTOR, dim=dimension)
    schema.add_field(CONTENT, kinds.VARCHAR, max_length=TEXT_LENGTHS[CONTENT])
    schema.add_field(METADATA, kinds.JSON)
    schema.add_field(CHUNK, kinds.JSON)
    schema.add_field(FRAMEWORK_DATA, kinds.JSON)
    schema.add_field(DELETED, kinds.BOOL)
    return schema


def index_params(
    pymilvus: Any, index: VectorIndex, metric: SimilarityMetric, dimension: int, engine: Engine
) -> dict[str, Any]:
    """The indexes of a collection, by field."""
    wanted = {VECTOR: index.index_params(METRICS[metric], dimension)}
    wanted[DOCUMENT_ID] = {"index_type": engine.text_index}
    if engine.flag_index is not None:
        wanted[DELETED] = {"index_type": engine.flag_index}
    made = {field: pymilvus.MilvusClient.prepare_index_params() for field in wanted}
    for field, arguments in wanted.items():
        made[field].add_index(field, index_name=field, **arguments)
    return made


def read_dimension(name: str, description: Mapping[str, Any]) -> int:
    """The dimension of a collection's vectors.

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
            f"{', '.join(missing) or 'dynamic fields'}; use another collection_name"
        )
    return int(fields[VECTOR]["params"]["dim"])


def read_layout(name: str, dimension: int, index: Mapping[str, Any]) -> Layout:
    """The layout of a collection.

    Args:
        name: The collection's.
        dimension: Of its vectors.
        index: What `describe_index` returns for them.

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
    return Layout(dimension, metric, index_from_description(index))
