import pytest
from bs4 import BeautifulSoup
from hypothesis import given

from chunk_properties import assert_covers, sizes, texts
from ragbridge.chunkers import HtmlChunker, html_to_text
from ragbridge.documents import TextDocument

PAGE = """<!DOCTYPE html>
<html><head><title>The &amp; page</title><style>p { color: red }</style></head>
<body><!-- a comment --><script>alert("no")</script>
<p>Intro <b>bo</b>ld &lt;text&gt;.</p>
<h1><div>Big <i>one</i></div></h1>
<h2>Sub</h2><p>Under   sub.<h2>Next</h2>Under next.
<template>no</template><noscript>no</noscript></body></html>"""


def chunk(html, size=1000, overlap=150, **metadata):
    chunker = HtmlChunker(chunk_size=size, chunk_overlap=overlap)
    return chunker.chunk(TextDocument(content=html, metadata=metadata))


@given(texts, sizes)
def test_chunks_cover_the_visible_text(html, sizes):
    assert_covers(html_to_text(html), chunk(html, *sizes), *sizes)


@given(texts)
def test_no_visible_character_is_lost(html):
    soup = BeautifulSoup(html + "\n", "html.parser")
    assert "".join(html_to_text(html).split()) == "".join(soup.get_text().split())


@given(texts)
def test_escaped_text_comes_back(text):
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("\x00", "")
    assert "".join(html_to_text(f"<p>{escaped}").split()) == "".join(
        text.replace("\x00", "").split()
    )


@pytest.mark.parametrize("size", range(2, 12))
def test_a_heading_takes_room_from_the_text_under_it(size):
    html = "<h1>T</h1>word another word"
    assert_covers(html_to_text(html), chunk(html, size, 0), size, 0)


def test_every_heading_begins_a_chunk_and_names_it():
    assert [(part.content, part.metadata) for part in chunk(PAGE)] == [
        ("Intro bold <text>.\n\n", {"header": "The & page", "headers": ["The & page"]}),
        ("Big one\n\nSub\n\nUnder sub.\n\n", {"header": "Sub", "headers": ["Big one", "Sub"]}),
        ("Next\n\nUnder next.", {"header": "Next", "headers": ["Big one", "Next"]}),
    ]


def test_without_heading_and_title_there_is_no_header():
    (part,) = chunk("<p>Just text.", price=5)
    assert part.metadata == {"price": 5}


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("notes.html", "notes.html"),
        ("", ""),
        ("<p>a<p>b", "a\n\nb"),
        ("<div>a</div><div>b</div>c", "a\nb\nc"),
        ("a<br>b<br><br>c", "a\nb\n\nc"),
        ("<ul><li>a<li>b</ul>c", "a\nb\n\nc"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</table>", "1\t2\n3"),
        ("a <b> b</b>\n\t c", "a b c"),
        ("<b>a</b><i>b</i>", "ab"),
        ("a&nbsp;&nbsp;b &eacute; &#x1F600; &#128512;", "a\u00a0\u00a0b é 😀 😀"),
        ("x<pre>  a\n    b\n</pre>y", "x\n\n  a\n    b\n\n\ny"),
        ("<pre>a  <b>b  c</b></pre>  d  e", "a  b  c\n\nd e"),
        ("<?xml version='1.0'?><html><body><p>x</p></body></html>", "x"),
        ("a<!-- b -->c<![CDATA[d]]><?php e ?>f", "acf"),
        ("<iframe>no</iframe><select><option>a<option>b</select>", "a\nb"),
        ("<SCRIPT>no</SCRIPT><P>Yes</P>", "Yes"),
        ("<p hidden>kept: a script may show it</p>", "kept: a script may show it"),
    ],
)
def test_visible_text(html, text):
    assert html_to_text(html) == text


def test_unclosed_headings_end_where_the_next_begins():
    assert [(part.content, part.metadata["header"]) for part in chunk("<h2>A<h2>B</h2>text")] == [
        ("A\n\n", "A"),
        ("B\n\ntext", "B"),
    ]


def test_a_heading_without_text_is_none():
    (part,) = chunk("<h1>One</h1>a<h2><img src=x></h2>b")
    assert part.metadata["headers"] == ["One"]


def test_elements_nested_without_end_are_read():
    assert html_to_text("<div><p>" * 20_000 + "deep") == "deep"


def test_an_unclosed_heading_over_everything_does_not_flood_the_metadata():
    parts = chunk("<h1>" + "Some words. " * 500)
    assert len(parts) > 5
    assert all(len(part.metadata["header"]) == 250 for part in parts)


def test_offsets_count_in_the_visible_text():
    text = html_to_text(PAGE)
    parts = chunk(PAGE, 12, 4)
    assert len(parts) > 4
    assert all(text[part.start : part.end] == part.content for part in parts)
