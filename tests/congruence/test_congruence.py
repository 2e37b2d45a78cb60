"""All stores agree, step by step, whatever is done to them.

`pytest tests/congruence --congruence-steps 10000` is the long run.
"""

from collections import Counter
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from pymilvus import MilvusClient

from foreign_layouts import MADE
from ragbridge.documents import TextChunk
from ragbridge.stores.base import SimilarityMetric, VectorEntry
from ragbridge.stores.memory import InMemoryVectorStore
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.testing import CongruenceMachine

STEPS_IN_A_RUN = 25


class InMemory:
    """Reopened from the file that it was saved to."""

    name = "memory"

    def __init__(self, directory, metric):
        self.store = InMemoryVectorStore(metric=metric)
        self._path = directory / f"rows-{uuid4().hex}"

    def reopen(self):
        self.store.save(self._path)
        self.store.close()
        self.store = InMemoryVectorStore.load(self._path)


class Milvus:
    """Reopened by its name."""

    def __init__(self, name, uri, metric):
        self.name = name
        self._options = {"uri": uri, "metric": metric, "index": "FLAT"}
        self._collection = f"congruence_{uuid4().hex}"
        self._open()

    def reopen(self):
        self.store.close()
        self._open()

    def drop(self):
        self.store.client.drop_collection(self._collection)
        self.store.close()

    def _open(self):
        self.store = MilvusVectorStore(self._collection, **self._options)


class Peers:
    """A collection of another tool, opened in place."""

    def __init__(self, name, uri, kind):
        self.name = f"{kind} on {name}"
        self.made = MADE[kind]
        self._uri, self._collection = uri, f"congruence_{uuid4().hex}"
        self._client = MilvusClient(uri)
        self.made.make(self._client, self._collection, "COSINE")
        self._open()

    def reopen(self):
        self.store.close()
        self._open()

    def drop(self):
        self.store.close()
        self._client.drop_collection(self._collection)
        self._client.close()

    def _open(self):
        layout = self.made.layout
        self.store = MilvusVectorStore.open(self._collection, uri=self._uri, layout=layout)


@pytest.fixture
def open_subjects(request, tmp_path):
    """A function that opens one store of each kind that the session tests."""
    opened = []

    def open_them(names, metric):
        for name in request.config.getoption("stores"):
            if name not in names:
                continue
            if name == "memory":
                opened.append(InMemory(tmp_path, metric))
            elif name == "milvus-lite":
                opened.append(Milvus(name, str(tmp_path / "rows.db"), metric))
            else:
                server = request.getfixturevalue("milvus_server")
                opened.append(Milvus(name, server.uri, metric))
        return opened

    yield open_them
    for subject in opened:
        subject.store.close() if subject.name == "memory" else subject.drop()


@pytest.mark.parametrize(
    ("metric", "sparse", "names"),
    [
        ("cosine", False, ["memory", "milvus-lite", "milvus"]),
        ("euclidean", False, ["memory", "milvus-lite", "milvus"]),
        ("dot_product", False, ["memory", "milvus-lite", "milvus"]),
        ("cosine", True, ["memory", "milvus-lite"]),  # this server has one vector field a row
    ],
)
@pytest.mark.timeout(7200)
def test_stores_agree(metric, sparse, names, open_subjects, drive):
    subjects = open_subjects(names, SimilarityMetric(metric))

    class Machine(CongruenceMachine):
        def open_subjects(self):
            return subjects

    Machine.metric, Machine.sparse, Machine.done = SimilarityMetric(metric), sparse, Counter()
    drive(Machine, subjects, f"{metric}{' with sparse' if sparse else ''}")


# RocketRide's index is none that is exact.
@pytest.mark.parametrize(
    "kind", ["langchain-dynamic", "langchain-json", "llama-index", "ballerina-declared", "roomy"]
)
@pytest.mark.stores("milvus-lite", "milvus")
@pytest.mark.timeout(7200)
def test_collections_of_other_tools_agree(kind, store_name, milvus_uri, drive):
    subject = Peers(store_name, milvus_uri, kind)

    class Machine(CongruenceMachine):
        def open_subjects(self):
            return [subject]

        def entries(self):
            return super().entries() if kind == "roomy" else fitting(super().entries(), subject)

    Machine.done = Counter()
    try:
        drive(Machine, [subject], kind, share=0.25)
    finally:
        subject.drop()


def fitting(entries, subject):
    """As much of the entries as such a collection can hold."""
    layout = subject.store.layout
    ids = st.integers(1, 9).map(str)

    def fit(entry, row_id):
        chunk = TextChunk(
            content=entry.chunk.content,
            metadata=subject.made.fitting(entry.chunk.metadata),
            document_id=entry.chunk.document_id if layout.document_id or layout.nodes else None,
        )
        return VectorEntry(id=row_id, embedding=entry.embedding, chunk=chunk)

    return st.builds(fit, entries, ids)


@pytest.fixture
def drive(request, record_property):
    """A function that runs a machine as long as was asked for, and records what it did."""

    def run(machine, subjects, sort, share=1.0):
        steps = int(share * request.config.getoption("congruence_steps"))
        run_for(machine, steps)
        counts = ", ".join(f"{count} {name}" for name, count in machine.done.most_common())
        stores = ", ".join(subject.name for subject in subjects)
        record_property("measured", f"congruence of {stores} ({sort}): {counts}")

    return run


def run_for(machine, steps):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(1, steps // STEPS_IN_A_RUN),
            stateful_step_count=STEPS_IN_A_RUN,
            deadline=None,
            print_blob=True,
        ),
    )
