"""Texts and properties that the tests of all chunkers share."""

import re

from hypothesis import strategies as st

_PIECES = st.sampled_from(
    [
        "word ", "Sentence one. ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\r", " ", "\t", "\u00a0", "\u2028",
        "👩‍👩‍👧‍👦", "e\u0301", "\u0301\u0301", "漢字かな交じり文。", "שלום עולם ", "مرحبا بالعالم ", "🇨🇭🇯🇵",
        "# Head\n", "## Sub\n", "Title\n===\n", "```\n# code\n```\n", "> # quoted\n", "- item\n", "| a | b |\n",
        "---\n", "<h1>T</h1>", "<p>", "</p>", "<pre>", "<!-- c -->", "&amp;", "&#0;", "<![if x]>", "<", "\x00",
    ]
)  # fmt: skip
texts = st.lists(_PIECES | st.text(max_size=20), max_size=60).map("".join)
sizes = st.integers(2, 80).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


def longest_blank(text):
    return max(map(len, re.findall(r"\s+", text)), default=0)


def assert_covers(text, chunks, size, overlap):
    """Everything that is promised of the chunks of a text."""
    assert bool(chunks) == bool(text.strip())
    end = 0
    for index, chunk in enumerate(chunks):
        assert chunk.index == index
        assert text[chunk.start : chunk.end] == chunk.content
        assert chunk.content.strip(), "blank"
        assert len(chunk.content.strip()) <= size
        if 2 * longest_blank(text) <= overlap:  # there is room for it on both sides
            assert len(chunk.content) <= size
        if index:
            assert 0 <= end - chunk.start <= overlap
            assert chunks[index - 1].start < chunk.start
            assert end < chunk.end
        else:
            assert chunk.start == 0
        end = chunk.end
    assert not chunks or end == len(text)
