"""Collections as other tools make them, made with pymilvus alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from pymilvus import DataType, MilvusClient

from ragbridge.stores.milvus import CollectionLayout, MilvusVectorStore

__all__ = ["MADE", "ROOMY", "Made", "langchain_declared", "open_made"]

DIMENSION: Final = 4
MILVUS_METRICS: Final = {"cosine": "COSINE", "euclidean": "L2", "dot_product": "IP"}


@dataclass(frozen=True)
class Made:
    """A way of laying out a collection.

    Attributes:
        make: Makes one: `make(client, name, metric)`, where metric is Milvus's name.
        tool: What is found to have made it.
        layout: What the store is told, or None where it finds out.
        ids: "text" or "int64".
        taken: Keys that metadata cannot have there.
    """

    make: Callable[[MilvusClient, str, str], None]
    tool: str
    ids: str = "text"
    layout: CollectionLayout | None = None
    taken: frozenset[str] = frozenset()

    def fitting(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """As much of some metadata as a row can have."""
        return {key: value for key, value in metadata.items() if key not in self.taken}


def _schema(client: MilvusClient, *, dynamic: bool, auto_id: bool = False) -> Any:
    return client.create_schema(auto_id=auto_id, enable_dynamic_field=dynamic)


def _finish(
    client: MilvusClient, name: str, schema: Any, vector: str, index: Mapping[str, Any]
) -> None:
    client.create_collection(name, schema=schema)
    params = client.prepare_index_params()
    params.add_index(vector, **index)
    client.create_index(name, params)
    client.load_collection(name)


def _exact(metric: str) -> dict[str, Any]:
    return {"index_type": "FLAT", "metric_type": metric}


def _langchain(client: MilvusClient, *, dynamic: bool) -> Any:
    schema = _schema(client, dynamic=dynamic)
    schema.add_field("text", DataType.VARCHAR, max_length=65_535)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=65_535)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
    return schema


def langchain_dynamic(client: MilvusClient, name: str, metric: str) -> None:
    """As langchain-milvus does with `enable_dynamic_field=True`."""
    schema = _langchain(client, dynamic=True)
    _finish(client, name, schema, "vector", _exact(metric))


def langchain_json(client: MilvusClient, name: str, metric: str) -> None:
    """As langchain-milvus does with `metadata_field="metadata"`."""
    schema = _langchain(client, dynamic=False)
    schema.add_field("metadata", DataType.JSON)
    _finish(client, name, schema, "vector", _exact(metric))


def llama_index(client: MilvusClient, name: str, metric: str) -> None:
    """As llama-index-vector-stores-milvus does."""
    schema = _schema(client, dynamic=True)
    schema.add_field("id", DataType.VARCHAR, max_length=65_535, is_primary=True)
    schema.add_field("doc_id", DataType.VARCHAR, max_length=65_535)
    schema.add_field("text", DataType.VARCHAR, max_length=65_535)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIMENSION)
    _finish(client, name, schema, "embedding", _exact(metric))


def ballerina(client: MilvusClient, name: str, metric: str) -> None:
    """As Ballerina's milvus connector does with a name and a dimension."""
    schema = _schema(client, dynamic=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
    _finish(client, name, schema, "vector", _exact(metric))


def ballerina_declared(client: MilvusClient, name: str, metric: str) -> None:
    """The same with fields for what ai.milvus stores."""
    schema = _schema(client, dynamic=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
    schema.add_field("content", DataType.VARCHAR, max_length=65_535)
    schema.add_field("type", DataType.VARCHAR, max_length=100)
    schema.add_field("metadata", DataType.JSON)
    _finish(client, name, schema, "vector", _exact(metric))


def rocketride(client: MilvusClient, name: str, metric: str) -> None:
    """As RocketRide's milvus node does."""
    schema = _schema(client, dynamic=False)
    schema.add_field("id", DataType.INT64, is_primary=True, max_length=300)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
    schema.add_field("content", DataType.VARCHAR, max_length=65_535)
    schema.add_field("meta", DataType.JSON)
    index = {"index_type": "IVF_FLAT", "metric_type": metric, "params": {"nlist": 1024}}
    _finish(client, name, schema, "vector", index)


def roomy(client: MilvusClient, name: str, metric: str) -> None:
    """A layout of one's own that has a place for everything."""
    schema = _schema(client, dynamic=True)
    schema.add_field("key", DataType.VARCHAR, max_length=4_096, is_primary=True)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIMENSION)
    schema.add_field("body", DataType.VARCHAR, max_length=65_535)
    schema.add_field("data", DataType.JSON)
    _finish(client, name, schema, "dense", _exact(metric))


def langchain_declared(client: MilvusClient, name: str, metric: str) -> None:
    """As langchain-milvus does by default: fields for the metadata of the first row."""
    schema = _langchain(client, dynamic=False)
    schema.add_field("s", DataType.VARCHAR, max_length=65_535)
    schema.add_field("i", DataType.INT64)
    schema.add_field("f", DataType.DOUBLE)
    schema.add_field("b", DataType.BOOL)
    schema.add_field("small", DataType.INT8)
    schema.add_field("j", DataType.JSON)
    if not str(client.get_server_version()).startswith("v2.3"):  # which takes it, and ignores it
        for kind in ("VARCHAR", "INT64", "DOUBLE", "BOOL"):
            length = {"max_length": 65_535} if kind == "VARCHAR" else {}
            schema.add_field(f"null_{kind}", DataType[kind], nullable=True, **length)
    _finish(client, name, schema, "vector", _exact(metric))


ROOMY: Final = CollectionLayout(
    id="key",
    vector="dense",
    content="body",
    metadata=("data", "metadata"),
    document_id=("data", "source"),
    chunk="chunk",
    framework_data=("data", "frameworks"),
    deleted="hidden",
)

MADE: Final[Mapping[str, Made]] = {
    "langchain-dynamic": Made(
        langchain_dynamic,
        "langchain-milvus",
        taken=frozenset({"pk", "text", "vector", "$meta"}),
    ),
    "langchain-json": Made(langchain_json, "langchain-milvus"),
    "llama-index": Made(llama_index, "llama-index-vector-stores-milvus"),
    "ballerina": Made(
        ballerina,
        "Ballerina ai.milvus",
        ids="int64",
        taken=frozenset({"id", "vector", "content", "type", "$meta"}),
    ),
    "ballerina-declared": Made(ballerina_declared, "Ballerina ai.milvus", ids="int64"),
    "rocketride": Made(
        rocketride,
        "RocketRide",
        ids="int64",
        taken=frozenset({"objectId", "chunkId", "isDeleted"}),
    ),
    "roomy": Made(roomy, "a layout of your own", layout=ROOMY),
}
"""The layouts by name."""


@contextmanager
def open_made(made: Made, uri: str, metric: str = "cosine") -> Iterator[MilvusVectorStore]:
    """A store on a new, empty collection of this kind, which is dropped afterwards."""
    name = f"made_{uuid4().hex}"
    client = MilvusClient(uri)
    made.make(client, name, MILVUS_METRICS[metric])
    try:
        with MilvusVectorStore.open(name, uri=uri, layout=made.layout) as store:
            yield store
    finally:
        client.drop_collection(name)
        client.close()
