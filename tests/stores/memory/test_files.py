"""save and load: everything comes back, a crash leaves a whole file, and no file runs code."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_rows import entry, random_vectors
from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import BinaryVector, HybridVector, SparseVector
from ragbridge.errors import (
    InvalidConfigError,
    MissingDependencyError,
    StoreClosedError,
    VectorStoreError,
)
from ragbridge.filters import where
from ragbridge.stores.base import SimilarityMetric, VectorEntry, VectorStoreQuery
from ragbridge.stores.memory import FullTextOptions, InMemoryVectorStore
from ragbridge.stores.memory import store as store_module
from ragbridge.testing import _strategies

TESTS = Path(__file__).parents[2]


def rows_of(store):
    return sorted(store.scan(include_deleted=True), key=lambda row: row.id)


def saved(store, directory):
    path = directory / "rows.ragbridge"
    store.save(path)
    return path


def names_in(directory):
    return [path.name for path in directory.iterdir()]


def dense_part(n):
    return random_vectors(n, 5)


def sparse_part(n):
    return SparseVector([n, n + 7], [0.5, n + 1])


EMBEDDINGS = {
    "none": lambda n: None,
    "dense": dense_part,
    "sparse": sparse_part,
    "hybrid": lambda n: HybridVector(dense_part(n), sparse_part(n)),
    "binary": lambda n: BinaryVector(bytes([n, 255 - n])),
}
CHUNKS = [
    TextChunk(
        content="naïve 👍\n\x00 שלום",
        id="chunk",
        document_id="doc",
        index=0,
        start=3,
        end=2**63 - 1,
        metadata={"n": 2**63 - 1, "x": 0.1, "t": True, "none": None, "l": [1, 1.0, {"": "'"}]},
    ),
    TextChunk(content="", type="paragraph"),
    Chunk(content=b"\x00\xff", type="image"),
    Chunk(content={"table": [[1, None], "x"]}, type="table"),
    Chunk(content=None),
]


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        (kind, metric)
        for kind in EMBEDDINGS
        for metric in SimilarityMetric
        if metric.is_binary is (kind == "binary")
    ],
)
def test_everything_comes_back(kind, metric, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_ROWS_PER_PART", 3)
    store = InMemoryVectorStore(metric=metric)
    store.add(
        [
            VectorEntry(
                id=f"row {n}",
                embedding=EMBEDDINGS[kind](n),
                chunk=CHUNKS[n % len(CHUNKS)],
                framework_data={"node": {"n": n}} if n % 2 else {},
                deleted=n % 4 == 0,
            )
            for n in range(10)
        ]
    )
    store.delete("row 3")
    store.add([entry("row 4", EMBEDDINGS[kind](44), text="replaced")])
    loaded = InMemoryVectorStore.load(saved(store, tmp_path))
    assert loaded.metric is metric
    assert rows_of(loaded) == rows_of(store)
    queries = [
        VectorStoreQuery(embedding=EMBEDDINGS[kind](2), text="replaced"),
        VectorStoreQuery(filters=where("n") == 2**63 - 1, top_k=-1),
    ]
    assert loaded.query_many(queries) == store.query_many(queries)


def test_options_and_shape_come_back(tmp_path):
    options = FullTextOptions(stop_words=["the", "Ä"], stemmer="german", k1=0.9, b=0.1)
    store = InMemoryVectorStore(metric="dot_product", full_text=options)
    path = saved(store, tmp_path)
    assert InMemoryVectorStore.load(path)._text.options == options
    store.add([entry("a", [1, 2, 3])])
    store.clear()
    store.save(path)
    loaded = InMemoryVectorStore.load(path)
    assert loaded.metric is SimilarityMetric.DOT_PRODUCT
    assert loaded.count() == 0
    with pytest.raises(Exception, match="dimension 3"):
        loaded.add([entry("a", [1, 2])])


@given(st.lists(_strategies.metadata(), max_size=6), st.lists(st.text(max_size=9), max_size=6))
def test_any_metadata_and_text_come_back(tmp_path_factory, metadata, texts):
    store = InMemoryVectorStore()
    store.add([entry(f"m{n}", metadata=each) for n, each in enumerate(metadata)])
    store.add([entry(f"t{n}", text=each) for n, each in enumerate(texts)])
    path = saved(store, tmp_path_factory.getbasetemp())
    assert rows_of(InMemoryVectorStore.load(path)) == rows_of(store)


def test_a_loaded_store_goes_on(tmp_path):
    store = InMemoryVectorStore()
    store.add([entry("a", [1, 2], metadata={"n": 1})])
    loaded = InMemoryVectorStore.load(saved(store, tmp_path))
    loaded.add([entry("b", [2, 1], metadata={"n": 2})])
    loaded.delete("a")
    assert [row.id for row in loaded.scan(where("n") > 0)] == ["b"]
    assert store.count() == 1


def test_save_replaces_and_leaves_nothing_beside(tmp_path):
    store = InMemoryVectorStore()
    for n in range(3):
        store.add([entry(str(n), [1, n])])
        path = saved(store, tmp_path)
    assert names_in(tmp_path) == [path.name]
    assert InMemoryVectorStore.load(str(path)).count() == 3
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_save_follows_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "rows")
    InMemoryVectorStore().save(link)
    assert link.is_symlink()
    assert names_in(tmp_path / "real") == ["rows"]


def test_a_save_holds_what_there_was_when_it_began(tmp_path, monkeypatch):
    store = InMemoryVectorStore()
    store.add([entry(str(n), [1, n]) for n in range(20)])
    original = store_module._entries

    def entries(*args, **options):
        for part in original(*args, **options):
            yield part
            store.delete([str(n) for n in range(0, 20, 2)])
            store.add([entry("late", [7, 7])])

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_ROWS_PER_PART", 4)
        patch.setattr(store_module, "_entries", entries)
        path = saved(store, tmp_path)
    assert {row.id for row in InMemoryVectorStore.load(path).scan()} == {str(n) for n in range(20)}


async def test_async_twins(tmp_path):
    store = InMemoryVectorStore()
    await store.aadd([entry("a", [1, 2])])
    await store.asave(tmp_path / "rows")
    loaded = await InMemoryVectorStore.aload(tmp_path / "rows")
    assert rows_of(loaded) == rows_of(store)


@pytest.mark.parametrize("path", ["no/such/directory/rows", "", ".", "file/rows"])
def test_a_path_that_cannot_be_written(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("something else")
    store = InMemoryVectorStore()
    store.add([entry("a", [1, 2])])
    with pytest.raises(VectorStoreError, match="cannot write") as caught:
        store.save(path)
    assert isinstance(caught.value.__cause__, OSError)
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("path", [None, 7, b"rows", ["rows"]])
def test_what_is_no_path(path):
    with pytest.raises(InvalidConfigError, match="path"):
        InMemoryVectorStore().save(path)
    with pytest.raises(InvalidConfigError, match="path"):
        InMemoryVectorStore.load(path)


def test_a_closed_store_is_not_saved(tmp_path):
    store = InMemoryVectorStore()
    store.close()
    with pytest.raises(StoreClosedError):
        store.save(tmp_path / "rows")
    assert names_in(tmp_path) == []


def test_an_interrupted_save_cleans_up(tmp_path, monkeypatch):
    store = InMemoryVectorStore()
    store.add([entry("a", [1, 2])])
    path = saved(store, tmp_path)
    store.add([entry("b", [1, 2])])

    def interrupted(*args, **options):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "_entries", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save(path)
    assert names_in(tmp_path) == [path.name]
    assert InMemoryVectorStore.load(path).count() == 1


def full_file(directory):
    store = InMemoryVectorStore()
    vectors = random_vectors(1, 50, 8)
    store.add([entry(str(n), row, metadata={"n": n}) for n, row in enumerate(vectors)])
    return saved(store, directory)


def rewrite(path, compression=zipfile.ZIP_STORED, **members):
    """The same file with other members; None removes one."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents.update(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in contents.items():
            if data is not None:
                archive.writestr(name, data)


def header(path, **changes):
    with zipfile.ZipFile(path) as archive:
        return json.dumps(json.loads(archive.read("header.json")) | changes)


def first_rows(path, **changes):
    with zipfile.ZipFile(path) as archive:
        rows = json.loads(archive.read("0/rows.json"))
    rows[0].update(changes)
    return json.dumps(rows)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("id,text\n1,hello\n"),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another zip": lambda path: zipfile.ZipFile(path, "w").close(),
    "compressed": lambda path: rewrite(path, zipfile.ZIP_DEFLATED),
    "another header": lambda path: rewrite(path, **{"header.json": b"[]"}),
    "another format": lambda path: rewrite(path, **{"header.json": header(path, format="x")}),
    "no metric": lambda path: rewrite(path, **{"header.json": header(path, metric="x")}),
    "wrong options": lambda path: rewrite(
        path, **{"header.json": header(path, full_text={"k1": -1})}
    ),
    "rows missing": lambda path: rewrite(path, **{"header.json": header(path, rows=51)}),
    "rows too many": lambda path: rewrite(path, **{"header.json": header(path, rows=49)}),
    "no rows": lambda path: rewrite(path, **{"0/rows.json": None}),
    "rows are no JSON": lambda path: rewrite(path, **{"0/rows.json": b"\xff"}),
    "deep JSON": lambda path: rewrite(path, **{"0/rows.json": b"[" * 100_000}),
    "bad chunk": lambda path: rewrite(path, **{"0/rows.json": first_rows(path, chunk={})}),
    "bad class": lambda path: rewrite(path, **{"0/rows.json": first_rows(path, **{"class": "os"})}),
    "bad base64": lambda path: rewrite(
        path, **{"0/rows.json": first_rows(path, content_encoding="base64")}
    ),
    "no vectors": lambda path: rewrite(path, **{"0/dense": None}),
    "short vectors": lambda path: rewrite(path, **{"0/dense": bytes(4 * 8 * 49)}),
    "zero vectors": lambda path: rewrite(path, **{"0/dense": bytes(4 * 8 * 50)}),
    "nan vectors": lambda path: rewrite(path, **{"0/dense": b"\xff" * (4 * 8 * 50)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_foreign_files_are_refused(damage, tmp_path):
    path = full_file(tmp_path)
    DAMAGES[damage](path)
    with pytest.raises(VectorStoreError, match=r"rows\.ragbridge.*restore it"):
        InMemoryVectorStore.load(path)


def test_a_flipped_byte_never_goes_unnoticed(tmp_path):
    path = full_file(tmp_path)
    whole, wanted = path.read_bytes(), rows_of(InMemoryVectorStore.load(path))
    seed = random.randrange(2**32)
    for place in random.Random(seed).sample(range(len(whole)), 150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            loaded = InMemoryVectorStore.load(path)
        except VectorStoreError:
            continue
        # Some bytes mean nothing, as dates and permissions do.
        assert rows_of(loaded) == wanted, f"byte {place}, seed {seed}"


@pytest.mark.parametrize("path", ["nothing", "."])
def test_files_that_are_not_there(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VectorStoreError, match=r"cannot read.*save\(\)"):
        InMemoryVectorStore.load(path)


def test_a_newer_file_says_so(tmp_path):
    path = full_file(tmp_path)
    rewrite(path, **{"header.json": header(path, version=2)})
    with pytest.raises(VectorStoreError, match="upgrade ragbridge"):
        InMemoryVectorStore.load(path)


def test_a_missing_library_is_named_as_such(tmp_path, monkeypatch):
    path = saved(InMemoryVectorStore(full_text=FullTextOptions(stemmer="english")), tmp_path)
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    with pytest.raises(MissingDependencyError, match="PyStemmer"):
        InMemoryVectorStore.load(path)


SAVER = dedent(
    """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from memory_rows import entry, random_vectors
    from ragbridge.stores.memory import InMemoryVectorStore, files

    def store_of(generation):
        store = InMemoryVectorStore()
        rows = random_vectors(generation, 1500, 32)
        metadata = {{"generation": generation}}
        store.add([entry(str(n), row, metadata=metadata) for n, row in enumerate(rows)])
        return store

    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    path, moment = sys.argv[1:]
    """
).format(tests=str(TESTS))

SAVE_FOREVER = SAVER + dedent(
    """
    stores = [store_of(0), store_of(1)]
    stores[0].save(path)
    print("ready", flush=True)
    while True:
        for store in stores:
            store.save(path)
    """
)

DIE_IN_SAVE = SAVER + dedent(
    """
    store_of(0).save(path)
    owner, name = {"written": (os, "fsync"), "synced": (files.Path, "replace"),
                   "replaced": (files, "_sync_directory"), "half": (files, "_encode_vectors")}[moment]
    setattr(owner, name, die)
    store_of(1).save(path)
    """
)


def generation_in(path):
    """Which of the two stores the file holds, every row of it."""
    rows = rows_of(InMemoryVectorStore.load(path))
    (generation,) = {row.chunk.metadata["generation"] for row in rows}
    vectors = random_vectors(generation, 1500, 32)
    got = np.array([row.embedding for row in sorted(rows, key=lambda row: int(row.id))])
    assert np.array_equal(got, vectors)
    return generation


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("moment", "generation"), [("half", 0), ("written", 0), ("synced", 0), ("replaced", 1)]
)
def test_killed_at_a_moment_of_a_save(moment, generation, tmp_path):
    path = tmp_path / "rows"
    killed = subprocess.run([sys.executable, "-c", DIE_IN_SAVE, path, moment], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert generation_in(path) == generation


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_at_any_time_of_a_save(tmp_path):
    path = tmp_path / "rows"
    seed = random.randrange(2**32)
    delays = random.Random(seed)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, path, ""], stdout=subprocess.PIPE
        ) as saver:
            assert saver.stdout.readline() == b"ready\n"
            time.sleep(delays.uniform(0, 0.2))
            saver.kill()
        assert generation_in(path) in (0, 1), f"seed {seed}"
    unfinished = list(tmp_path.glob(".rows.*.tmp"))
    assert unfinished, "no save was hit in the middle"
    store = InMemoryVectorStore.load(path)
    store.save(path)
    assert rows_of(InMemoryVectorStore.load(path)) == rows_of(store)
