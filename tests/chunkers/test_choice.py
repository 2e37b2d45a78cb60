import pytest

from ragbridge.chunkers import (
    AUTO,
    AutoChunker,
    HtmlChunker,
    MarkdownChunker,
    RecursiveChunker,
    choose_chunker,
)
from ragbridge.documents import ImageDocument, TextDocument
from ragbridge.errors import InvalidConfigError


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, RecursiveChunker),
        ({"mime_type": "text/markdown"}, MarkdownChunker),
        ({"mime_type": "Text/X-Markdown; charset=UTF-8"}, MarkdownChunker),
        ({"mime_type": "text/html; charset=utf-8"}, HtmlChunker),
        ({"mime_type": "application/xhtml+xml"}, HtmlChunker),
        ({"mime_type": "text/html", "file_name": "notes.md"}, HtmlChunker),
        ({"mime_type": "text/csv", "file_name": "notes.md"}, RecursiveChunker),
        ({"mime_type": "text/plain", "file_name": "notes.md"}, MarkdownChunker),
        ({"mime_type": "application/octet-stream", "file_name": "a.html"}, HtmlChunker),
        ({"file_name": "docs/README.MD"}, MarkdownChunker),
        ({"file_name": "a.b.markdown"}, MarkdownChunker),
        ({"file_name": "page.htm"}, HtmlChunker),
        ({"file_name": "notes.txt"}, RecursiveChunker),
        ({"file_name": ".md"}, RecursiveChunker),
        ({"file_name": "md"}, RecursiveChunker),
        ({"file_name": 5, "mime_type": ["text/html"]}, RecursiveChunker),
    ],
)
def test_the_metadata_chooses(metadata, expected):
    assert type(choose_chunker(TextDocument(content="x", metadata=metadata))) is expected


def test_sizes_reach_the_chosen_chunker():
    document = TextDocument(content="# A\n\n" + "word " * 50, metadata={"file_name": "a.md"})
    chosen = choose_chunker(document, chunk_size=60, chunk_overlap=10)
    assert repr(chosen) == "MarkdownChunker(chunk_size=60, chunk_overlap=10)"
    parts = AutoChunker(chunk_size=60, chunk_overlap=10).chunk(document)
    assert parts == chosen.chunk(document)
    assert parts != AUTO.chunk(document)


def test_auto_gives_each_document_its_own():
    page = TextDocument(content="<h1>A</h1>b", metadata={"mime_type": "text/html"})
    assert AUTO.chunk(page)[0].metadata["header"] == "A"
    assert AUTO.chunk(TextDocument(content="# A\n\nb"))[0].metadata == {}
    assert AUTO.chunk(ImageDocument(content=b"x"))[0].type == "image-chunk"


def test_wrong_sizes_are_refused_at_once():
    with pytest.raises(InvalidConfigError, match="chunk_size"):
        AutoChunker(chunk_size=0)
    with pytest.raises(InvalidConfigError, match="chunk_overlap"):
        choose_chunker(TextDocument(content="x"), chunk_size=5, chunk_overlap=5)
