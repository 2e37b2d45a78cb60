"""`index` and `aindex` of langchain-core, with every way to clean up."""

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from ragbridge import HashingEmbeddingProvider, SimilarityMetric
from ragbridge.langchain import RagbridgeVectorStore

pytestmark = pytest.mark.filterwarnings("ignore:Using SHA-1 for document hashing:UserWarning")


@pytest.fixture
def store(backend):
    core = backend.empty_store(metric=SimilarityMetric.COSINE, holds="langchain_64")
    yield RagbridgeVectorStore(core, HashingEmbeddingProvider(64))
    core.close()


@pytest.fixture(params=["index", "aindex"])
def indexed(request, store):
    """A function that indexes documents, either way, and tells what it did."""
    manager = InMemoryRecordManager("records")
    manager.create_schema()

    async def call(documents, cleanup, **options):
        options = {"source_id_key": "source", "cleanup": cleanup, "batch_size": 2, **options}
        if request.param == "index":
            done = index(documents, manager, store, **options)
        else:
            done = await aindex(documents, manager, store, **options)
        return tuple(done[f"num_{each}"] for each in ("added", "updated", "skipped", "deleted"))

    return call


def documents(*texts, source="a.md"):
    return [Document(text, metadata={"source": source, "n": len(text)}) for text in texts]


def texts(store):
    return sorted(entry.chunk.content for entry in store.store.scan())


async def test_what_is_there_is_skipped(store, indexed):
    assert await indexed(documents("one", "two", "three"), None) == (3, 0, 0, 0)
    assert await indexed(documents("one", "two", "four"), None) == (1, 0, 2, 0)
    assert texts(store) == ["four", "one", "three", "two"]
    (found,) = store.similarity_search("four", k=1)
    assert (found.page_content, found.metadata) == ("four", {"source": "a.md", "n": 4})
    assert store.get_by_ids([found.id]) == [found]


async def test_incremental_removes_what_a_source_has_no_more(store, indexed):
    await indexed([*documents("one", "two"), *documents("b", source="b.md")], "incremental")
    assert await indexed(documents("one", "new"), "incremental") == (1, 0, 1, 1)
    assert texts(store) == ["b", "new", "one"]
    assert await indexed([], "incremental") == (0, 0, 0, 0)


async def test_full_removes_all_that_is_not_given(store, indexed):
    await indexed([*documents("one", "two", "three"), *documents("b", source="b.md")], "full")
    assert await indexed(documents("one"), "full", cleanup_batch_size=1) == (0, 0, 1, 3)
    assert texts(store) == ["one"]
    assert await indexed([], "full") == (0, 0, 0, 1)
    assert texts(store) == []


async def test_scoped_full_removes_within_the_sources_that_are_given(store, indexed):
    await indexed([*documents("one", "two"), *documents("b", source="b.md")], "scoped_full")
    assert await indexed(documents("new"), "scoped_full") == (1, 0, 0, 2)
    assert texts(store) == ["b", "new"]


async def test_force_update_writes_again(store, indexed):
    await indexed(documents("one", "two"), "full")
    store.store.delete_by_filter(ids=[next(store.store.scan()).id])
    assert await indexed(documents("one", "two"), "full") == (0, 0, 2, 0)
    assert len(texts(store)) == 1
    assert await indexed(documents("one", "two"), "full", force_update=True) == (0, 2, 0, 0)
    assert texts(store) == ["one", "two"]


async def test_arguments_reach_the_store(indexed):
    with pytest.raises(ValueError, match="unknown argument 'wait'"):
        await indexed(documents("one"), None, upsert_kwargs={"wait": True})


async def test_documents_may_come_one_by_one(store, indexed):
    await indexed((each for each in documents("one", "two", "two")), "incremental")
    assert texts(store) == ["one", "two"]
