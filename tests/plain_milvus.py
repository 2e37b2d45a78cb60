"""What benchmarks of Milvus are measured against: a collection as one would make it with pymilvus."""

from time import sleep
from uuid import uuid4

import numpy as np

__all__ = [
    "BATCH",
    "DIMENSION",
    "ROWS",
    "SEARCH",
    "K",
    "Plain",
    "load_anew",
    "metadata_of",
    "queries",
    "text_of",
]

ROWS, DIMENSION, K, BATCH = 10_000, 384, 10, 1_000
SEARCH = {"metric_type": "COSINE", "params": {"ef": 64}}
READ = ["content", "metadata"]


def text_of(row):
    return f"Row number {row} of a catalogue, with as many words in it as a short text has."


def metadata_of(row):
    return {"category": f"category {row % 10}", "price": row % 997 / 7, "year": row % 2024}


class Plain:
    """A collection as one would make it with pymilvus."""

    def __init__(self, client, vectors, *, full_text=False, **columns):
        from pymilvus import DataType

        self.client, self.name = client, f"plain_{uuid4().hex}"
        self.rows = [
            {"id": f"row-{row}", "vector": vector, "content": text_of(row)}
            | {"metadata": metadata_of(row)}
            | {name: metadata_of(row)[name] for name in columns}
            for row, vector in enumerate(vectors)
        ]
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=512)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
        schema.add_field("content", DataType.VARCHAR, max_length=65_535, enable_analyzer=full_text)
        schema.add_field("metadata", DataType.JSON)
        indexes = client.prepare_index_params()
        indexes.add_index(
            "vector",
            index_type="HNSW",
            metric_type="COSINE",
            params={"M": 16, "efConstruction": 200},
        )
        if full_text:
            _add_bm25(schema, indexes)
        for name in columns:
            schema.add_field(name, DataType.VARCHAR, max_length=512)
            indexes.add_index(name, index_type="INVERTED")
        client.create_collection(self.name, schema=schema)
        client.create_index(self.name, indexes)
        client.load_collection(self.name)

    def fill(self):
        for start in range(0, ROWS, BATCH):
            self.client.upsert(self.name, self.rows[start : start + BATCH])

    def search(self, vector, filter=""):
        """What is found, and read: pymilvus decodes JSON only when somebody looks at it."""
        (found,) = self.client.search(
            self.name,
            data=[vector],
            filter=filter,
            limit=K,
            output_fields=READ,
            search_params=SEARCH,
        )
        return [(hit["id"], hit["distance"], hit["entity"]) for hit in found]


def _add_bm25(schema, indexes):
    from pymilvus import DataType, Function, FunctionType

    schema.add_field("bm25", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(
            name="bm25",
            function_type=FunctionType.BM25,
            input_field_names=["content"],
            output_field_names=["bm25"],
        )
    )
    indexes.add_index("bm25", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")


def load_anew(client, collection_name):
    """Have the indexes built now: after a flush, engines build them when they find the time."""
    client.flush(collection_name)
    for index in client.list_indexes(collection_name):
        while client.describe_index(collection_name, index).get("pending_index_rows"):
            sleep(0.2)
    client.release_collection(collection_name)
    client.load_collection(collection_name)


def queries():
    random = np.random.default_rng(1)
    while True:
        yield random.standard_normal(DIMENSION, dtype=np.float32)
