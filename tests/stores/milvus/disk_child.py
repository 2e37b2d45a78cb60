"""Fills a small disk with a Milvus Lite file; run by test_faults.py.

Prints, one JSON object a line, what was acknowledged and what the store said; then waits for a line, after
which there is room again, and goes on.
"""

import json
import resource
import sys

from ragbridge.errors import RagbridgeError
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.testing._suite.samples import make_entry

PATH, LIMIT = sys.argv[1], int(sys.argv[2])
BATCH = 100


def entries(start):
    return [
        make_entry(f"r{n:06}", metadata={"text": "word " * 80}) for n in range(start, start + BATCH)
    ]


def say(**what):
    print(json.dumps(what), flush=True)  # noqa: T201 - a line for the test


def fill(store, acknowledged, failures):
    """Add until it failed so often; counts in between show that reading goes on."""
    while failures:
        try:
            acknowledged += store.add(entries(len(acknowledged)))
        except RagbridgeError as error:
            failures -= 1
            say(error=type(error).__name__, message=str(error))
            say(counted=store.count(), acknowledged=len(acknowledged))


store = MilvusVectorStore("rows", uri=PATH, full_text=False)
acknowledged = store.add(entries(0))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
if LIMIT:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
fill(store, acknowledged, failures=3)
say(full=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for _ in range(15):
    acknowledged += store.add(entries(len(acknowledged)))
    store.count()
say(counted=store.count(), acknowledged=len(acknowledged))
sys.stdin.readline()
store.close()
