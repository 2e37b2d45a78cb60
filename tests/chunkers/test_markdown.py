import pytest
from hypothesis import given

from chunk_properties import assert_covers, sizes, texts
from ragbridge.chunkers import MarkdownChunker
from ragbridge.chunkers.markdown import _find_headings, front_matter_length, line_starts
from ragbridge.documents import TextDocument


def chunk(text, size=1000, overlap=150, **metadata):
    chunker = MarkdownChunker(chunk_size=size, chunk_overlap=overlap)
    return chunker.chunk(TextDocument(content=text, metadata=metadata))


def headings(text):
    return [(heading.level, heading.title) for heading in _find_headings(text)]


@given(texts, sizes)
def test_chunks_cover_the_text(text, sizes):
    assert_covers(text, chunk(text, *sizes), *sizes)


@given(texts, sizes)
def test_no_chunk_goes_on_past_a_heading_with_text_before_it(text, sizes):
    headings = _find_headings(text)
    in_headings = {place for each in headings for place in range(each.start, each.end)}
    for part in chunk(text, *sizes):
        last = max((each.start for each in headings if each.start < part.end), default=0)
        before = set(range(part.start, last)) - in_headings
        assert not "".join(text[place] for place in before).strip()


def test_every_heading_begins_a_chunk_and_names_it():
    text = "Before.\n\n# One\n\nText one.\n\n## Two\n\nText two.\n\n# Three\nText three.\n"
    assert [(part.content, part.metadata) for part in chunk(text)] == [
        ("Before.\n\n", {}),
        ("# One\n\nText one.\n\n", {"header": "One", "headers": ["One"]}),
        ("## Two\n\nText two.\n\n", {"header": "Two", "headers": ["One", "Two"]}),
        ("# Three\nText three.\n", {"header": "Three", "headers": ["Three"]}),
    ]


def test_a_heading_with_nothing_under_it_but_a_deeper_one_is_kept_with_that_one():
    text = "\n# Catalogue\n\n## Headphones\n\n### Aurora\n\nText.\n\n## Empty\n\n## Last\n"
    assert [(part.content, part.metadata["headers"]) for part in chunk(text)] == [
        (
            "\n# Catalogue\n\n## Headphones\n\n### Aurora\n\nText.\n\n",
            ["Catalogue", "Headphones", "Aurora"],
        ),
        ("## Empty\n\n", ["Catalogue", "Empty"]),
        ("## Last\n", ["Catalogue", "Last"]),
    ]


def test_a_heading_does_not_stand_alone_before_a_long_text():
    text = "# Outer\n\n## Inner\n\n" + "A sentence of the long section. " * 30
    parts = chunk(text, 200, 40)
    assert parts[0].content.startswith("# Outer\n\n## Inner\n\nA sentence")
    assert len(parts) > 4
    assert {part.metadata["header"] for part in parts} == {"Inner"}


@pytest.mark.parametrize(
    "heading", ["# H\n", "# A heading\n\n\n", "Title\n=====\n", "# " + "long " * 9 + "\n"]
)
@pytest.mark.parametrize("size", [6, 20, 50, 100])
@pytest.mark.parametrize("overlap", [0, 3, 5])
def test_a_heading_takes_room_from_the_text_under_it(heading, size, overlap):
    text = heading + "word " * 100
    assert_covers(text, chunk(text, size, overlap), size, overlap)


def test_overlap_stays_within_a_section():
    text = "# One\n\n" + "First words here. " * 30 + "\n\n# Two\n\n" + "Other words there. " * 30
    parts = chunk(text, 200, 40)
    second = [part for part in parts if part.metadata["header"] == "Two"]
    assert second[0].content.startswith("# Two")
    assert "First" not in "".join(part.content for part in second)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# A *b* `c` [l](u) ![alt](x) &amp; <b>t</b> \\# #", [(1, "A b c l alt & t #")]),
        ("Set\nup\n===\n\nSub\n---\n", [(1, "Set up"), (2, "Sub")]),
        ("[r][x] y\n===\n\n[x]: http://a\n", [(1, "r y")]),
        ("```\n# no\n```\n\n~~~\n# no\n~~~\n\n    # no\n", []),
        ("> # quoted\n\n- # listed\n\n<h1>html</h1>\n\n#hashtag\n\n####### seven", []),
        ("| a |\n|---|\n| # no |\n", []),
        ("###### six\r\n\r# cr\r", [(6, "six"), (1, "cr")]),
        ("#\n\ntext\n", [(1, "")]),
        ("---\ntitle: x\n---\n# A", [(1, "A")]),
        ("---\n# comment\ntitle: x\n...\n# A", [(1, "A")]),
        ("text\n\n---\nb\n---\n", [(2, "b")]),
        ("a\x00b\n===", [(1, "a\ufffdb")]),
        ("# x\u2028y\u0085z\n# B", [(1, "x y z"), (1, "B")]),
    ],
)
def test_headings_are_those_of_the_document(text, found):
    assert headings(text) == found


def test_headings_stand_where_they_say():
    text = "---\nt: 1\n---\r\n\r\nPara\rText\n===\n\n## 漢字 😀\r\nBody\n"
    places = [text[heading.start : heading.end] for heading in _find_headings(text)]
    assert places == ["Para\rText\n===\n", "## 漢字 😀\r\n"]


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("---\na: 1\n---\nrest", 13),
        ("---\n---\nrest", 8),
        ("---\r\na: 1\r\n---\r\nrest", 16),
        ("---\na: 1\n...", 12),
        ("---\na: 1\n", 0),
        ("\n---\na: 1\n---\n", 0),
        ("--- a\n---\n", 0),
        ("---\na\n----\n---\n", 15),
        ("----\na\n---\n", 0),
        ("", 0),
    ],
)
def test_front_matter_ends_at_its_closing_line(text, length):
    assert front_matter_length(text) == length


def test_front_matter_is_a_chunk_of_its_own():
    parts = chunk("---\ntitle: x\n---\n\n# A\n\ntext")
    assert [part.content for part in parts] == ["---\ntitle: x\n---\n\n", "# A\n\ntext"]


@given(texts)
def test_line_starts_know_every_line_end(text):
    lines = text.replace("\r\n", "\n\n").replace("\r", "\n")  # as long as before
    ends = [place + 1 for place, sign in enumerate(lines) if sign == "\n"]
    pairs = {place + 1 for place in range(len(text)) if text.startswith("\r\n", place)}
    expected = [0, *(end for end in ends if end not in pairs)]
    assert sorted(set(line_starts(text))) == sorted({*expected, len(text)})


def test_the_documents_own_header_holds_where_there_is_no_heading():
    before, after = chunk("Before.\n\n# One\n\nText.", header="given", price=5)
    assert before.metadata == {"header": "given", "price": 5}
    assert after.metadata == {"header": "One", "headers": ["One"], "price": 5}


def test_a_heading_without_text_leaves_the_outer_one():
    parts = chunk("# One\n\ntext\n\n##\n\nmore")
    assert parts[1].metadata == {"header": "One", "headers": ["One"]}


def test_a_paragraph_taken_for_a_heading_is_shortened_in_the_metadata():
    (part,) = chunk("word " * 100 + "\n---\ntext")
    assert len(part.metadata["header"]) == 250
    assert part.metadata["header"].endswith("…")


def test_blocks_stay_whole_where_they_fit():
    code = "```python\n" + "x = 1\n" * 10 + "```"
    parts = chunk(f"# A\n\n{'Intro here. ' * 6}\n\n{code}\n\n{'Outro here. ' * 6}", 120, 0)
    assert [part.content.strip() for part in parts][1] == code
