"""Prints as JSON by how many megabytes a process grows that fills a store with rows."""

import gc
import json
import sys

import numpy as np
import psutil

from ragbridge.documents import TextChunk
from ragbridge.filters import where
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.memory import InMemoryVectorStore

BATCH = 1000


def batch(start, random):
    return [
        VectorEntry(
            id=f"row-{row}",
            embedding=random.standard_normal(384, dtype=np.float32),
            chunk=TextChunk(
                content=f"Row number {row} of a catalogue, with as many words as a short text has.",
                metadata={
                    "category": f"category {row % 10}",
                    "price": row % 997 / 7,
                    "year": row % 2024,
                },
            ),
        )
        for row in range(start, start + BATCH)
    ]


def ask(store, random):
    filters = (where("category") == "category 3") & (where("price") < 71) & (where("year") > 1000)
    vector = random.standard_normal(384, dtype=np.float32)
    return store.query(VectorStoreQuery(embedding=vector, filters=filters))


def megabytes():
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def main():
    random = np.random.default_rng(0)
    warm = InMemoryVectorStore()  # what libraries set up once is no store's
    warm.add(batch(0, random))
    ask(warm, random)
    warm.close()
    before = megabytes()
    store = InMemoryVectorStore()
    for start in range(0, int(sys.argv[1]), BATCH):
        store.add(batch(start, random))
    filled = megabytes()
    ask(store, random)
    figures = {
        "after ingest": filled - before,
        "after filters on three keys": megabytes() - before,
        "the vectors alone": store.count() * 384 * 4 / 1e6,
    }
    print(json.dumps(figures))  # noqa: T201 - read by the benchmark


if __name__ == "__main__":
    main()
