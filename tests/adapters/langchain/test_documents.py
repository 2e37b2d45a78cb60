"""LangChain documents as rows, and back."""

import pickle
from copy import deepcopy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.load import dumpd

from ragbridge import InvalidDocumentError, InvalidQueryError, QueryMatch, VectorEntry, VectorMatch
from ragbridge.documents import Chunk, TextChunk
from ragbridge.langchain import from_langchain_document, to_langchain_document
from ragbridge.langchain.documents import to_langchain_documents
from ragbridge.testing._strategies import metadata

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(text=TEXT, data=metadata(), given_id=st.none() | TEXT.filter(bool))
def test_a_document_comes_back_as_it_was(text, data, given_id):
    document = Document(text, metadata=data, id=given_id)
    before = deepcopy(document)
    entry = from_langchain_document(document)
    assert document == before
    assert (entry.id, entry.chunk.content, entry.chunk.metadata) == (given_id, text, data)
    assert entry.framework_data == {}
    assert to_langchain_document(entry) == document


@given(text=TEXT, data=metadata(), given_id=st.none() | TEXT.filter(bool))
def test_a_document_is_as_langchain_makes_it(text, data, given_id):
    expected = Document(text, metadata=data, id=given_id)
    made = to_langchain_document(from_langchain_document(expected))
    assert [*vars(made).items()] == [*vars(expected).items()]
    for name in ("model_fields_set", "__pydantic_extra__", "__pydantic_private__"):
        assert getattr(made, name) == getattr(expected, name)
    assert dumpd(made) == dumpd(expected)
    assert pickle.loads(pickle.dumps(made)) == made.model_copy(deep=True) == expected


def test_a_document_has_metadata_of_its_own():
    entry = VectorEntry(id="1", chunk=TextChunk(content="a", metadata={"n": 1}))
    one, other = to_langchain_documents([entry, entry])
    one.metadata["n"] = 2
    assert other.metadata == entry.chunk.metadata == {"n": 1}


def test_a_row_shares_nothing_with_its_document():
    document = Document("a", metadata={"tags": ["x"]})
    entry = from_langchain_document(document)
    document.metadata["tags"].append("y")
    assert entry.chunk.metadata == {"tags": ["x"]}


def test_the_document_id_is_read_and_written_under_its_key():
    document = Document("a", id="1", metadata={"source": "a.md"})
    entry = from_langchain_document(document, document_id_key="source")
    assert (entry.chunk.document_id, entry.chunk.metadata) == ("a.md", {"source": "a.md"})
    assert to_langchain_document(entry, document_id_key="source") == document
    assert from_langchain_document(document, document_id_key="other").chunk.document_id is None
    ours = VectorEntry(id="1", chunk=TextChunk(content="a", document_id="d"))
    assert to_langchain_document(ours).metadata == {}
    assert to_langchain_document(ours, document_id_key="source").metadata == {"source": "d"}
    assert ours.chunk.metadata == {}


def test_scores_stand_in_metadata_only_if_asked_for():
    chunk = TextChunk(content="a", metadata={"n": 1})
    for match in (
        VectorMatch(id="1", chunk=chunk, similarity_score=0.5),
        QueryMatch(id="1", chunk=chunk, similarity_score=0.5),
    ):
        assert to_langchain_document(match).metadata == {"n": 1}
        assert to_langchain_document(match, score_key="s").metadata == {"n": 1, "s": 0.5}
    with pytest.raises(InvalidQueryError, match="score_key can only be given for what a query"):
        to_langchain_document(VectorEntry(chunk=chunk), score_key="s")


def test_what_metadata_become():
    when = datetime(2026, 11, 21, 12, tzinfo=UTC)
    entry = from_langchain_document(Document("a", metadata={"when": when, "pair": (1, 2)}))
    assert entry.chunk.metadata == {"when": "2026-11-21T12:00:00.000000Z", "pair": [1, 2]}


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("text", "must be a LangChain Document, not str 'text'"),
        (Document("a", metadata={"f": object()}), "metadata 'f' is no JSON value"),
        (Document("a", metadata={"f": float("nan")}), "metadata 'f' is nan"),
        (Document("a\ud800"), "lone surrogate"),
    ],
    ids=["text", "object", "nan", "surrogate"],
)
def test_what_no_store_could_give_back_is_refused(document, named):
    with pytest.raises(InvalidDocumentError, match=named):
        from_langchain_document(document)


def test_content_that_is_no_text():
    as_json = VectorEntry(id="1", chunk=Chunk(content={"a": [1, None, "é"]}))
    assert to_langchain_document(as_json).page_content == '{"a": [1, null, "é"]}'
    with pytest.raises(InvalidDocumentError, match="holds bytes"):
        to_langchain_document(VectorEntry(id="1", chunk=Chunk(content=b"png", type="image")))
