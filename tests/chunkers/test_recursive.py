import pickle
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given

from chunk_properties import assert_covers, sizes, texts
from ragbridge.chunkers import MarkdownChunker, RecursiveChunker, _splitting
from ragbridge.documents import (
    Chunk,
    Document,
    FileDocument,
    ImageDocument,
    TextChunk,
    TextDocument,
)
from ragbridge.errors import InvalidConfigError, InvalidDocumentError


def chunk(text, size=1000, overlap=150):
    chunker = RecursiveChunker(chunk_size=size, chunk_overlap=overlap)
    return chunker.chunk(TextDocument(content=text))


@given(texts, sizes)
def test_chunks_cover_the_text(text, sizes):
    assert_covers(text, chunk(text, *sizes), *sizes)


@given(texts, sizes)
def test_chunks_cover_the_text_block_by_block(text, sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_splitting, "_BLOCK", 50)
        assert_covers(text, chunk(text, *sizes), *sizes)


@given(texts)
def test_a_text_that_fits_is_one_chunk(text):
    assert len(chunk(text, len(text) + 1, 0)) == bool(text.strip())


def test_cuts_stand_at_paragraphs_where_they_fit():
    text = (
        "First paragraph, of one line.\n\nSecond paragraph, longer. It has two sentences.\n\nThird."
    )
    assert [part.content.strip() for part in chunk(text, 60, 0)] == [
        "First paragraph, of one line.",
        "Second paragraph, longer. It has two sentences.\n\nThird.",
    ]


def test_cuts_stand_at_sentences_where_paragraphs_do_not_fit():
    text = (
        "The first sentence stands here. The second sentence stands here. And the third one here."
    )
    assert [part.content.strip() for part in chunk(text, 40, 0)] == [
        "The first sentence stands here.",
        "The second sentence stands here.",
        "And the third one here.",
    ]


def test_neighbours_overlap_by_a_whole_sentence_also_across_paragraphs():
    text = "Alpha beta gamma delta. Epsilon zeta eta.\n\nTheta iota kappa lambda. Mu nu xi omicron."
    first, second = chunk(text, 70, 24)
    assert first.content == "Alpha beta gamma delta. Epsilon zeta eta.\n\n"
    assert second.content.startswith("zeta eta.\n\nTheta") or second.content.startswith("Epsilon")


@pytest.mark.parametrize("overlap", [1, 2, 10, 149])
def test_neighbours_overlap_wherever_the_text_allows(overlap):
    words = " ".join(f"word{number}" for number in range(400))
    parts = chunk(words, 300, overlap)
    shared = [before.end - after.start for before, after in pairwise(parts)]
    assert len(shared) > 5
    assert all(0 <= count <= overlap for count in shared)
    assert all(count > 0 for count in shared) or overlap < 3  # one space is no overlap


def test_an_overlap_begins_with_a_word():
    words = " ".join(f"word{number}" for number in range(400))
    parts = chunk(words, 300, 50)
    assert all(part.content.startswith("word") for part in parts)
    assert all(25 <= one.end - two.start <= 50 for one, two in pairwise(parts))


def test_an_overlap_is_never_only_white_space():
    text = "\n\n".join(
        f"Paragraph {number} has two sentences. Here is one more." for number in range(50)
    )
    for before, after in pairwise(chunk(text, 120, 30)):
        assert text[after.start : before.end].strip()


def test_a_chunk_never_holds_the_one_before_it():
    assert [part.content for part in chunk("abc", 2, 1)] == ["a", "b", "c"]
    assert [part.content for part in chunk("abcd", 3, 1)] == ["ab", "bcd"]


def test_blocks_leave_no_cuts_of_their_own(monkeypatch):
    text = "One sentence of the text. " * 40
    whole = chunk(text, 60, 0)
    monkeypatch.setattr(_splitting, "_BLOCK", 100)
    assert chunk(text, 60, 0) == whole


def test_white_space_takes_room_from_the_overlap():
    text = "First word. Second one.  Third one. \n\nb  \nword       "
    parts = chunk(text, 10, 7)
    assert max(len(part.content) for part in parts) <= 10
    assert parts[-1].content == "rd       "  # not "word       ", which is too long


def test_white_space_at_a_cut_is_no_reason_for_a_short_overlap():
    text = "\n\nlongerword \na.   \n\nlongerword  \n\na. word Sentence one. \n\n  "
    assert chunk(text, 24, 6)[2].content == "d  \n\na. word Sentence "


def test_an_emoji_made_of_several_code_points_stays_whole():
    family = "👩‍👩‍👧‍👦"
    parts = chunk(family * 100, 50, 20)
    assert all(part.content == family * (len(part.content) // len(family)) for part in parts)


def test_white_space_that_fits_nowhere_is_kept_at_the_end_of_a_chunk():
    parts = chunk("one" + " " * 500 + "two", 50, 10)
    assert [part.content.strip() for part in parts] == ["one", "two"]
    assert "".join(part.content for part in parts) == "one" + " " * 500 + "two"


def test_offsets_count_code_points():
    text = "😀 " * 30 + "needle " + "漢 " * 30
    found = next(part for part in chunk(text, 40, 0) if "needle" in part.content)
    assert text[found.start : found.end] == found.content


@pytest.mark.parametrize("text", ["", " ", "\n\r\n\t ", "\u00a0\u2028"])
def test_blank_text_has_no_chunks(text):
    assert chunk(text) == []


def test_a_chunk_keeps_its_documents_metadata_and_id():
    metadata = {"mime_type": "text/plain", "nested": {"tags": ["a", None]}, "header": "given"}
    document = TextDocument(id="doc", content="word " * 100, metadata=metadata)
    parts = RecursiveChunker(chunk_size=100, chunk_overlap=0).chunk(document)
    assert [part.index for part in parts] == list(range(len(parts)))
    assert all(isinstance(part, TextChunk) and part.metadata == metadata for part in parts)
    assert {part.document_id for part in parts} == {"doc"}
    assert all(part.id is None for part in parts)


def test_chunks_do_not_share_metadata():
    document = TextDocument(content="word " * 100, metadata={"tags": ["a"]})
    one, two, *_ = RecursiveChunker(chunk_size=100, chunk_overlap=0).chunk(document)
    one.metadata["tags"].append("b")
    assert two.metadata == document.metadata == {"tags": ["a"]}


@pytest.mark.parametrize(
    "document",
    [
        ImageDocument(id="i", content=b"\x89PNG", metadata={"page": 1}),
        ImageDocument(id="i", content="https://example.org/a.png", metadata={"page": 1}),
        FileDocument(id="i", content="report.pdf", metadata={"page": 1}),
    ],
)
def test_a_document_that_is_no_text_becomes_one_chunk(document):
    (only,) = RecursiveChunker().chunk(document)
    assert type(only) is Chunk
    assert only.content == document.content
    assert only.type == f"{document.type}-chunk"
    assert (only.document_id, only.index, only.metadata) == ("i", 0, {"page": 1})


def test_a_plain_document_with_text_is_text():
    (only,) = RecursiveChunker().chunk(Document(content="some text"))
    assert isinstance(only, TextChunk)


@pytest.mark.parametrize("size", [0, -1, 1.0, "10", None, True])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(InvalidConfigError, match="chunk_size must be a positive integer"):
        RecursiveChunker(chunk_size=size)


@pytest.mark.parametrize("overlap", [-1, 100, 101, 0.5, None, True])
def test_a_wrong_overlap_is_refused(overlap):
    with pytest.raises(InvalidConfigError, match=r"chunk_overlap must .* \(100\)"):
        RecursiveChunker(chunk_size=100, chunk_overlap=overlap)


@pytest.mark.parametrize("document", ["text", None, 5])
def test_what_is_no_document_is_refused(document):
    with pytest.raises(InvalidDocumentError, match="document must be a Document"):
        RecursiveChunker().chunk(document)


def test_a_chunk_is_not_split_again():
    with pytest.raises(InvalidDocumentError, match="chunk already"):
        RecursiveChunker().chunk(TextChunk(content="a"))


@pytest.mark.parametrize("chunker_class", [RecursiveChunker, MarkdownChunker])
def test_a_chunker_can_be_pickled_after_use(chunker_class):
    chunker = chunker_class(chunk_size=20, chunk_overlap=5)
    document = TextDocument(content="# Title\n\n" + "word " * 20)
    assert pickle.loads(pickle.dumps(chunker)).chunk(document) == chunker.chunk(document)


@pytest.mark.parametrize(
    ("module", "package", "chunker"),
    [
        ("semantic_text_splitter", "semantic-text-splitter", "RecursiveChunker"),
        ("markdown_it", "markdown-it-py", "MarkdownChunker"),
        ("bs4", "beautifulsoup4", "HtmlChunker"),
    ],
)
def test_a_missing_library_shows_when_the_chunker_is_made(module, package, chunker):
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "import ragbridge.chunkers as chunkers\n"
        f"try: chunkers.{chunker}()\n"
        "except ImportError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (
        f"MissingDependencyError {package} is not installed; run: pip install 'ragbridge[text]'"
    )
