import asyncio
import contextlib
import os
import subprocess
import sys
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunk_properties import sizes, texts
from ragbridge.chunkers import AutoChunker, Chunker, RecursiveChunker, html_to_text
from ragbridge.documents import Chunk, ImageDocument, TextChunk, TextDocument
from ragbridge.embeddings import EmbeddingProvider, HashingEmbeddingProvider
from ragbridge.errors import (
    EntryNotFoundError,
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    InvalidQueryError,
    MissingDependencyError,
    PartialIngestError,
    PartialWriteError,
)
from ragbridge.filters import where
from ragbridge.knowledge_base import KnowledgeBase, VectorKnowledgeBase
from ragbridge.retrievers import QueryMatch, Retriever
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.memory import InMemoryVectorStore
from recording import RecordingProvider, RecordingStore, rows_of

SMALL = RecursiveChunker(chunk_size=40, chunk_overlap=0)
OLD = "The old version has this sentence. And another one of its own. And a third one here."
NEW = "A new version has other sentences. None of them was there before. Not one. Not a word."


@pytest.fixture
def provider():
    return RecordingProvider()


@pytest.fixture
def store():
    return RecordingStore()


@pytest.fixture
def base(store, provider):
    return VectorKnowledgeBase(store, provider, chunker=SMALL, batch_size=2)


def document(text, id=None, **metadata):
    return TextDocument(id=id, content=text, metadata=metadata)


def ingest(base, mode, documents):
    """By the sync method or by its async twin."""
    return base.ingest(documents) if mode == "sync" else asyncio.run(base.aingest(documents))


both_ways = pytest.mark.parametrize("mode", ["sync", "async"])


@both_ways
def test_documents_live_and_go_in_every_store(make_store, provider, mode):
    def call(name, *args):
        method = getattr(base, name if mode == "sync" else f"a{name}")
        return method(*args) if mode == "sync" else asyncio.run(method(*args))

    base = VectorKnowledgeBase(make_store(), provider, chunker=SMALL, batch_size=2)
    parts = len(SMALL.chunk(document(NEW)))
    call("ingest", [document(OLD, "a", price=5), document("Green tea.", "b", price=9)])
    call("ingest", document(NEW, "a", price=7))
    assert call("render", "a") == NEW
    assert call("retrieve", "green tea", 1, where("price") == 9)[0].chunk.document_id == "b"
    assert {match.chunk.metadata["price"] for match in call("retrieve", "tea", -1)} == {7, 9}
    assert call("mark_deleted", "a") == parts
    assert call("count") == 1
    assert call("mark_active", "a") == parts
    assert call("delete_by_filter", where("price") > 8) == 1
    assert call("remove", "a") == parts
    assert call("count") == 0


@both_ways
def test_documents_become_rows(base, store, mode):
    ids = ingest(base, mode, [document(OLD, "a", price=5), document("Short.", "b")])
    rows = store.get(ids)
    assert [row.chunk.document_id for row in rows] == ["a", "a", "a", "b"]
    assert [row.chunk.index for row in rows] == [0, 1, 2, 0]
    assert [row.chunk.metadata for row in rows] == [{"price": 5}] * 3 + [{}]
    assert [row.chunk.id for row in rows] == ids
    assert base.render("a") == OLD


@both_ways
def test_what_was_ingested_is_found(base, mode):
    ingest(base, mode, [document("Green tea is brewed at eighty degrees.", "tea"), document(OLD)])
    best = base.retrieve("green tea", 1)
    assert [match.chunk.document_id for match in best] == ["tea"]
    assert base.retrieve_many(["green tea"], 1) == [best]
    assert asyncio.run(base.aretrieve("green tea", 1)) == best
    assert asyncio.run(base.aretrieve_many(["green tea"], 1)) == [best]


def test_one_document_needs_no_list(base):
    assert len(base.ingest(document("Short.", "a"))) == base.count() == 1


def test_nothing_is_nothing(base, provider, store):
    assert base.ingest([]) == []
    assert provider.batches == store.calls == []


@both_ways
def test_chunks_are_embedded_in_batches(base, provider, store, mode):
    ingest(base, mode, [document(OLD), document(NEW)])
    assert sum(provider.batches) == base.count() >= 6
    assert max(provider.batches) == 2
    assert [len(ids) for ids in store.named("add")] == provider.batches


def test_the_same_again_changes_nothing(base, store):
    documents = [document(OLD, "a", price=5), document(NEW, "b")]
    first = base.ingest(documents)
    before = rows_of(store)
    assert base.ingest(documents) == first
    assert rows_of(store) == before
    assert store.named("delete") == []


def test_row_ids_are_the_same_everywhere(base):
    assert base.ingest(document("Short.", "a")) == ["625d2071-a79e-5133-b656-210da3f11a4c"]


@both_ways
@pytest.mark.parametrize("text", [NEW, "Shorter.", OLD + NEW, OLD[:-5]])
def test_a_document_is_replaced(base, mode, text):
    base.ingest([document(OLD, "a"), document(OLD, "b")])
    ids = ingest(base, mode, document(text, "a", price=5))
    assert base.render("a") == text
    assert base.render("b") == OLD
    assert base.count(document_ids=["a"]) == base.count(where("price") == 5) == len(ids)


def test_a_document_without_text_replaces_too(base):
    base.ingest([document(OLD, "a"), document(OLD, "b")])
    assert base.ingest([document(" \n", "a")]) == []
    assert base.count() == base.count(document_ids=["b"]) > 0


def test_the_new_version_is_in_before_the_old_one_goes(base, store):
    old = base.ingest(document(OLD, "a"))
    store.calls.clear()
    new = base.ingest(document(NEW, "a"))
    writes = [(name, set(what)) for name, what in store.calls if name != "scan"]
    assert [name for name, _ in writes] == ["add"] * (len(writes) - 1) + ["delete"]
    assert set.union(*(what for _, what in writes[:-1])) == set(new)
    assert writes[-1][1] == set(old)


def test_an_older_version_from_elsewhere_goes_as_well(base, store, provider):
    foreign = TextChunk(content="by another program", document_id="a")
    store.add([VectorEntry(id="x", chunk=foreign, embedding=provider.embed(foreign), deleted=True)])
    base.ingest(document(NEW, "a"))
    assert store.get(["x"], include_deleted=True) == []


def test_of_documents_with_the_same_id_the_last_wins(base):
    base.ingest([document(OLD, "a"), document("Short.", "b"), document(NEW, "a")])
    assert base.render("a") == NEW
    assert base.count(document_ids=["a"]) == len(SMALL.chunk(document(NEW)))


def test_documents_without_an_id_get_a_new_one_each(base, store):
    rows = store.get(base.ingest([document("Same."), document("Same.")]))
    names = {row.chunk.document_id for row in rows}
    assert len(names) == 2
    assert all(UUID(name).version == 4 for name in names)
    assert store.named("scan") == []  # nothing is looked for that cannot be there


class Numbering(Chunker):
    def chunk(self, document):
        words = document.content.split()
        return [Chunk(content=word, index=10 * place or None) for place, word in enumerate(words)]


def test_a_chunker_may_number_its_chunks_and_leave_the_rest_to_us(store):
    base = VectorKnowledgeBase(store, chunker=Numbering())
    rows = store.get(base.ingest(document("a b c", "x")))
    assert [row.chunk.index for row in rows] == [0, 10, 20]
    assert {row.chunk.document_id for row in rows} == {"x"}


def test_ready_chunks_go_in_as_they_are(base, store):
    own = TextChunk(
        id="own", content="A chunk " * 20, metadata={"price": 5}, document_id="a", index=7
    )
    assert base.ingest([own]) == ["own"]
    assert store.get(["own"])[0].chunk == own


def test_a_ready_chunk_replaces_the_one_at_its_place(base, store):
    def place(text, index):
        return TextChunk(content=text, document_id="a", index=index)

    (first, other) = base.ingest([place("one", 0), place("two", 1)])
    assert base.ingest(place("new", 0)) == [first]
    assert [row.chunk.content for row in store.get([first, other])] == ["new", "two"]


def test_a_ready_chunk_without_a_place_is_new_each_time(base):
    chunk = TextChunk(content="one")
    assert base.ingest(chunk) != base.ingest(chunk)
    assert base.count() == 2


def test_documents_and_chunks_may_be_mixed(base, store):
    chunk = TextChunk(id="own", content="own", document_id="a", index=9)
    ids = base.ingest([document("Short.", "b"), chunk, document("Also short.", "a")])
    contents = [row.chunk.content for row in store.get(ids)]
    assert contents == ["Short.", "own", "Also short."]
    assert base.count(document_ids=["a"]) == 2


def test_a_found_chunk_can_be_put_back(base):
    base.ingest(document(OLD, "a"))
    found = base.retrieve("old version", 1)[0]
    assert base.ingest(found.chunk) == [found.id]
    assert base.render("a") == OLD


def test_without_a_provider_there_are_no_vectors(store):
    base = VectorKnowledgeBase(store, chunker=SMALL)
    base.ingest([document(OLD, "a"), document("Espresso.", "b")])
    assert [row.embedding for row in store.scan()] == [None] * base.count()
    assert [match.chunk.content for match in base.retrieve("espresso")] == ["Espresso."]


def test_without_a_chunker_a_document_is_one_chunk(store, provider):
    base = VectorKnowledgeBase(store, provider, chunker=None)
    (row,) = store.get(base.ingest([document(OLD * 100, "a"), document("  ", "b")]))
    assert row.chunk.content == OLD * 100
    assert base.render("a") == OLD * 100


def test_by_default_the_type_chooses_the_chunker(store, provider):
    base = VectorKnowledgeBase(store, provider)
    base.ingest(
        [
            document("# One\n\ntext", file_name="a.md"),
            document("<h1>Two</h1>", mime_type="text/html"),
        ]
    )
    assert {row.chunk.metadata.get("header") for row in store.scan()} == {"One", "Two"}


class ByteProvider(EmbeddingProvider):
    """Counts bytes by their value: an embedding of any content."""

    def batch_embed(self, chunks):
        contents = (
            c.content if isinstance(c.content, bytes) else c.content.encode() for c in chunks
        )
        return [
            [1.0, *(float(Counter(content)[byte]) for byte in range(8))] for content in contents
        ]


def test_what_is_no_text_is_one_chunk_for_the_provider(store):
    base = VectorKnowledgeBase(store, ByteProvider())
    (row,) = store.get(base.ingest(ImageDocument(id="i", content=b"\x01\x02\x01")))
    assert type(row.chunk) is Chunk
    assert (row.chunk.content, row.chunk.type) == (b"\x01\x02\x01", "image-chunk")
    assert row.embedding.tolist()[:3] == [1, 0, 2]


def test_what_the_provider_cannot_embed_is_refused(base, store):
    with pytest.raises(InvalidDocumentError, match="embeds text only"):
        base.ingest(ImageDocument(content=b"\x01"))
    assert base.count() == 0


@pytest.mark.parametrize("documents", ["text", b"x", None, 5, {"a": document("x")}])
def test_what_is_no_list_of_documents_is_refused(base, documents):
    with pytest.raises(
        InvalidDocumentError, match="documents must be a Document, a Chunk or a list"
    ):
        base.ingest(documents)


class Refusing(Chunker):
    def chunk(self, document):
        if "bad" in document.content:
            raise InvalidDocumentError("content cannot be read")
        return SMALL.chunk(document)


@both_ways
@pytest.mark.parametrize(
    ("last", "named"),
    [
        ("text", r"documents\[2\] must be a Document or a Chunk, not str 'text'"),
        (document("bad", "x"), r"documents\[2\] \(id 'x'\): content cannot be read"),
        (Chunk(content=object()), "content must be text, bytes or JSON"),
    ],
)
def test_everything_is_checked_before_the_first_write(store, provider, mode, last, named):
    base = VectorKnowledgeBase(store, provider, chunker=Refusing(), batch_size=1)
    with pytest.raises(InvalidDocumentError, match=named):
        ingest(base, mode, [document(OLD, "a"), document(NEW, "b"), last])
    assert store.calls == provider.batches == []


@both_ways
def test_a_failure_before_the_first_write_is_the_providers_own(base, provider, store, mode):
    provider.fails_at = 0
    with pytest.raises(ConnectionError, match="the model has gone"):
        ingest(base, mode, document(OLD, "a"))
    assert store.named("add") == []


@both_ways
def test_a_failure_in_the_middle_says_what_is_in(base, provider, store, mode):
    names = ["a", "b", "c", "d"]
    provider.fails_at = 2  # after four rows: a whole, b in part
    with pytest.raises(PartialIngestError, match="4 of 12 chunks; 1 of 4 documents") as caught:
        ingest(base, mode, [document(OLD, name) for name in names])
    error = caught.value
    assert isinstance(error.__cause__, ConnectionError)
    assert (error.complete, error.incomplete) == (["a"], ["b", "c", "d"])
    assert set(error.written) == {row.id for row in store.scan()}
    assert len(error.not_written) == 8
    assert not set(error.written) & set(error.not_written)
    assert OLD[:20] not in str(error)


@both_ways
def test_after_a_failure_the_old_version_is_still_whole(base, provider, store, mode):
    old = [*base.ingest(document(OLD, "a")), *base.ingest(document(OLD, "b"))]
    before = rows_of(store)
    provider.fails_at = len(provider.batches) + 1
    with pytest.raises(PartialIngestError):
        ingest(base, mode, [document(NEW, "a"), document(NEW, "b")])
    after = rows_of(store)
    assert {name: after[name] for name in old} == before


def test_an_ingest_that_failed_can_be_repeated(base, provider):
    base.ingest([document(OLD, "a"), document(OLD, "b")])
    provider.fails_at = len(provider.batches) + 1
    with pytest.raises(PartialIngestError):
        base.ingest([document(NEW, "a"), document(NEW, "b")])
    provider.fails_at = None
    ids = base.ingest([document(NEW, "a"), document(NEW, "b")])
    assert base.render("a") == base.render("b") == NEW
    assert base.count() == len(ids)


@both_ways
def test_what_a_store_wrote_of_a_batch_counts(provider, mode):
    class Breaking(InMemoryVectorStore):
        def add(self, entries):
            done, *others = [entry.id for entry in entries]
            super().add(entries[:1])
            raise PartialWriteError("disk full", written=[done], not_written=others)

    store = Breaking()
    base = VectorKnowledgeBase(store, provider, chunker=SMALL)
    with pytest.raises(PartialIngestError, match="with PartialWriteError after 1 of 3") as caught:
        ingest(base, mode, document(OLD, "a"))
    assert caught.value.written == [row.id for row in store.scan()]
    assert len(caught.value.not_written) == 2
    assert caught.value.incomplete == ["a"]


def test_vectors_of_another_model_are_refused_and_nothing_is_lost(base, store):
    base.ingest(document(OLD, "a"))
    before = rows_of(store)
    other = VectorKnowledgeBase(store, RecordingProvider(32), chunker=SMALL)
    with pytest.raises(InvalidEmbeddingError, match="dimension"):
        other.ingest(document(NEW, "a"))
    assert rows_of(store) == before


def test_a_provider_that_loses_a_chunk_is_caught(store):
    class Losing(HashingEmbeddingProvider):
        def batch_embed(self, chunks):
            return super().batch_embed(chunks)[1:]

    with pytest.raises(InvalidEmbeddingError, match="Losing made 2 embeddings of 3"):
        VectorKnowledgeBase(store, Losing(64), chunker=SMALL).ingest(document(OLD))
    assert store.named("add") == []


async def test_a_cancelled_ingest_is_cancelled(base, provider, monkeypatch):
    arrived = asyncio.Event()

    async def wait(chunks):
        arrived.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(provider, "abatch_embed", wait)
    task = asyncio.create_task(base.aingest(document(OLD)))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_async_methods_use_async_methods_only(base, store, provider, monkeypatch):
    in_thread = asyncio.to_thread

    async def threaded(target, name, *args, **kwargs):
        return await in_thread(getattr(type(target), name), target, *args, **kwargs)

    def blocked(*args, **kwargs):
        raise AssertionError("a sync method was called on the event loop")

    for target, names in (
        (provider, ["batch_embed", "batch_embed_queries"]),
        (store, ["add", "get", "delete", "delete_by_filter", "count", "query_many"]),
    ):
        for name in names:
            twin = lambda *args, _t=target, _n=name, **kw: threaded(_t, _n, *args, **kw)  # noqa: E731
            monkeypatch.setattr(target, f"a{name}", twin)
            monkeypatch.setattr(target, name, blocked)
    await base.aingest(document(OLD, "a"))
    await base.aingest(document(NEW, "a"))
    assert await base.arender("a") == NEW
    assert await base.amark_deleted("a") == await base.amark_active("a") == await base.acount()
    assert (await base.aretrieve("new version", 1))[0].chunk.document_id == "a"
    assert await base.adelete_by_filter(where("price").is_empty()) > 0


@both_ways
def test_marked_documents_are_left_out_until_they_are_active_again(base, store, mode):
    def call(name, *args):
        method = getattr(base, name if mode == "sync" else f"a{name}")
        return method(*args) if mode == "sync" else asyncio.run(method(*args))

    base.ingest([document(OLD, "a"), document(NEW, "b"), document("Kept.", "c")])
    before = rows_of(store)
    assert call("mark_deleted", ["a", "b", "unknown"]) == len(before) - 1
    assert call("mark_deleted", ["a", "b"]) == 0
    assert {match.chunk.document_id for match in base.retrieve("version", -1)} == {"c"}
    assert call("count") == 1
    assert base.count(include_deleted=True) == len(before)
    assert call("mark_active", "a") == base.count(document_ids=["a"]) > 0
    assert call("render", "a") == OLD
    call("mark_active", ["b"])
    assert rows_of(store) == before


def test_marking_keeps_what_frameworks_need(store, provider):
    chunk = TextChunk(content="x", document_id="a")
    store.add(
        [VectorEntry(id="x", chunk=chunk, embedding=provider.embed(chunk), framework_data={"n": 1})]
    )
    base = VectorKnowledgeBase(store, provider)
    base.mark_deleted("a")
    (row,) = store.get(["x"], include_deleted=True)
    assert (row.framework_data, row.deleted) == ({"n": 1}, True)


def test_marking_goes_batch_by_batch(base, store):
    base.ingest(document(OLD, "a"))
    store.calls.clear()
    base.mark_deleted("a")
    assert [len(ids) for ids in store.named("add")] == [2, 1]


def test_ingesting_makes_a_marked_document_active(base):
    base.ingest(document(OLD, "a"))
    base.mark_deleted("a")
    base.ingest(document(OLD, "a"))
    assert base.render("a") == OLD


@both_ways
def test_removed_documents_are_gone(base, mode):
    base.ingest([document(OLD, "a"), document(NEW, "b"), document("Kept.", "c")])
    base.mark_deleted("b")
    all_rows = base.count(include_deleted=True)
    if mode == "sync":
        removed = base.remove(["a", "b", "unknown"])
    else:
        removed = asyncio.run(base.aremove(["a", "b", "unknown"]))
    assert removed == all_rows - 1
    assert base.count(include_deleted=True) == 1
    assert base.remove("c") == 1
    assert base.remove([]) == 0


def test_rows_are_deleted_by_filter(base):
    base.ingest([document("One.", "a", price=1), document("Two.", "b", price=2)])
    assert base.delete_by_filter(where("price") > 1) == 1
    assert base.count() == base.count(document_ids=["a"]) == 1


@pytest.mark.parametrize("method", ["remove", "mark_deleted", "mark_active"])
@pytest.mark.parametrize("names", [None, 5, [5], [""], ""])
def test_wrong_document_ids_are_refused(base, method, names):
    base.ingest(document(OLD, "a"))
    before = base.count()
    with pytest.raises(InvalidQueryError, match="document_ids must"):
        getattr(base, method)(names)
    assert base.count() == before


@given(texts, sizes, st.sampled_from(["a.txt", "a.md"]))
def test_a_document_is_rendered_as_it_was(text, sizes, file_name):
    chunker = AutoChunker(chunk_size=sizes[0], chunk_overlap=sizes[1])
    base = VectorKnowledgeBase(InMemoryVectorStore(), chunker=chunker)
    if base.ingest(document(text, "a", file_name=file_name)):
        assert base.render("a") == text
    else:
        assert not text.strip()


@given(texts, sizes)
def test_html_is_rendered_as_its_visible_text(html, sizes):
    chunker = AutoChunker(chunk_size=sizes[0], chunk_overlap=sizes[1])
    base = VectorKnowledgeBase(InMemoryVectorStore(), chunker=chunker)
    if base.ingest(document(html, "a", file_name="a.html")):
        assert base.render("a") == html_to_text(html)


def chunks(*spans):
    return [
        TextChunk(content=text, start=start, index=index, document_id="a")
        for text, start, index in spans
    ]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (chunks(("bcd", 1, 1), ("abc", 0, 0)), "abcd"),
        (chunks(("abc", 0, 0), ("fg", 5, 1)), "abc\nfg"),
        (chunks(("cd", 2, 1), ("ef", 4, 2)), "cdef"),
        (chunks(("abcd", 0, 0), ("bc", 1, 1), ("de", 3, 2)), "abcde"),
        (chunks(("two", None, 1), ("one", None, 0)), "one\ntwo"),
        (chunks(("loose", None, 0), ("abc", 0, 1)), "abc\nloose"),
    ],
)
def test_chunks_are_put_together_by_their_places(base, parts, text):
    base.ingest(parts)
    assert base.render("a") == text


def test_an_unknown_document_cannot_be_rendered(base):
    base.ingest(document(OLD, "a"))
    base.mark_deleted("a")
    for name in ("a", "b"):
        with pytest.raises(EntryNotFoundError, match=f"no document '{name}'") as caught:
            base.render(name)
        assert caught.value.ids == [name]


def test_what_is_no_text_cannot_be_rendered(store):
    base = VectorKnowledgeBase(store, ByteProvider())
    base.ingest(ImageDocument(id="i", content=b"\x01"))
    with pytest.raises(
        InvalidDocumentError, match=r"'i' has a chunk that is no text \(image-chunk\)"
    ):
        base.render("i")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"chunker": "markdown"}, "chunker must be of type Chunker"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"batch_size": True}, "batch_size must be a positive integer"),
        ({"embedding_provider": 5}, "embedding_provider must be of type EmbeddingProvider"),
        ({"mode": "dense"}, "'dense' needs an embedding_provider"),
    ],
)
def test_wrong_settings_are_refused(store, arguments, named):
    with pytest.raises(InvalidConfigError, match=named):
        VectorKnowledgeBase(store, **arguments)


def test_in_a_pipe_there_is_no_bar(base, capfd):
    base.ingest([document(OLD), document(NEW)])
    assert capfd.readouterr() == ("", "")


def test_a_bar_can_be_asked_for(base, capfd):
    base.ingest([document(OLD), document(NEW)], show_progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Ingesting: 100%" in err
    assert "6/6" in err


PROGRAM = """
import sys
from ragbridge import _progress
from ragbridge.documents import TextDocument
from ragbridge.knowledge_base import VectorKnowledgeBase
from ragbridge.stores.memory import InMemoryVectorStore
_progress._SHOWN_AFTER = float(sys.argv[1])
base = VectorKnowledgeBase(InMemoryVectorStore(), batch_size=1)
base.ingest([TextDocument(content="word")] * 3, show_progress=eval(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("shown_after", "show", "expected"),
    [(0, None, True), (600, None, False), (600, True, True), (0, False, False)],
)
def test_in_a_terminal_there_is_a_bar_on_long_ingests(shown_after, show, expected):
    terminal, other_end = pytest.importorskip("pty").openpty()
    pytest.importorskip("termios").tcsetwinsize(other_end, (24, 80))
    seen = ""
    try:
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(shown_after), str(show)],
            stderr=other_end,
            check=True,
        )
        os.set_blocking(terminal, False)
        with contextlib.suppress(BlockingIOError):
            seen = os.read(terminal, 10_000).decode()
    finally:
        os.close(terminal)
        os.close(other_end)
    assert ("Ingesting" in seen) == expected
    assert expected or seen == ""


def test_without_tqdm_there_is_no_bar(base, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert len(base.ingest(document(OLD, "a"))) == base.count()
    with pytest.raises(MissingDependencyError, match=r"ragbridge\[cli\]"):
        base.ingest(document(NEW, "a"), show_progress=True)
    assert base.render("a") == OLD


class ListBase(KnowledgeBase):
    def __init__(self):
        self.documents = []

    def ingest(self, documents):
        self.documents += documents
        return [item.id for item in documents]

    def delete_by_filter(self, filters):
        return 0

    def retrieve(self, query, top_k=10, filters=None):
        return [
            QueryMatch(chunk=TextChunk(content=d.content), similarity_score=1.0)
            for d in self.documents
        ]


async def test_a_knowledge_base_of_ones_own_is_a_retriever():
    own = ListBase()
    assert isinstance(own, Retriever)
    assert await own.aingest([document("x", "a")]) == ["a"]
    assert await own.adelete_by_filter(where("price") > 1) == 0
    assert [match.chunk.content for match in await own.aretrieve("x")] == ["x"]
