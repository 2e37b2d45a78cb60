"""How fast llama-index-vector-stores-milvus takes nodes in, as a multiple of plain pymilvus.

A script for an environment of its own, since it needs an older pymilvus than ragbridge does:

    python tests/benchmarks/peer_llama_index.py URI ROUNDS

prints the figures of `ratio_to` as JSON.
"""

import json
import sys
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_index.vector_stores.milvus import MilvusVectorStore
from pymilvus import MilvusClient

from llama_index_rows import lists_of_vectors, nodes_of
from measuring import ratio_to
from plain_milvus import BATCH, DIMENSION, Plain


def main(uri: str, rounds: str) -> None:
    vectors = lists_of_vectors()
    nodes = nodes_of(vectors)
    client = MilvusClient(uri, timeout=60)
    plain = Plain(client, vectors)
    peer = MilvusVectorStore(
        uri=uri,
        collection_name=f"peer_{uuid4().hex}",
        dim=DIMENSION,
        similarity_metric="COSINE",
        index_config={"index_type": "HNSW", "params": {"M": 16, "efConstruction": 200}},
        batch_size=BATCH,
        upsert_mode=True,
        use_async_client=False,
    )
    figures = ratio_to(plain.fill, lambda: peer.add(nodes), rounds=int(rounds), collect=True)
    print(json.dumps(figures))  # noqa: T201 - what the benchmark reads
    for name in (plain.name, peer.collection_name):
        client.drop_collection(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
