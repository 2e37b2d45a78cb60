"""Splitting Markdown at its headings."""

import re
from collections.abc import Iterable
from functools import cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from ragbridge.chunkers._sections import Heading, find_sections, split_sections
from ragbridge.chunkers._splitting import MARKDOWN
from ragbridge.chunkers.base import Piece, TextChunker
from ragbridge.errors import missing_dependency

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["MarkdownChunker"]

_FRONT_MATTER: Final = re.compile(
    r"\A---[ \t]*\r?\n(?:.*?\n)??(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL
)
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_TEXT_TOKENS: Final = {"text", "code_inline", "image"}
_BREAK_TOKENS: Final = {"softbreak", "hardbreak"}


class MarkdownChunker(TextChunker):
    """Splits Markdown (CommonMark): every heading begins a chunk, and long sections are cut.

    A chunk's metadata has `header`, the text of the heading that it stands under, and `headers`, the
    list of headings from the outermost to that one. A heading with nothing under it but a deeper
    one is kept with that one. Headings inside of lists and quotes, and what only looks like one
    (code, front matter), begin no section. The chunks cover the text without a gap:
    `text[chunk.start:chunk.end] == chunk.content`. See `TextChunker` for the arguments.
    """

    def _load(self) -> None:
        super()._load()
        _parser(blocks=True)

    def _split(self, content: str) -> tuple[str, Iterable[Piece]]:
        sections = find_sections(content, _find_headings(content))
        return content, split_sections(
            content, sections, self.chunk_size, self.chunk_overlap, MARKDOWN
        )


def _find_headings(markdown: str) -> list[Heading]:
    """The headings that begin a section, with their places in code points."""
    skipped = front_matter_length(markdown)
    lines = line_starts(markdown, skipped)
    references: dict[str, Any] = {}
    tokens = _parser(blocks=True).parse(markdown[skipped:], references)
    return [
        Heading(int(token.tag[1]), _title(inline.content, references), *_place(token.map, lines))
        for token, inline in pairwise(tokens)
        if token.type == "heading_open" and not token.level
    ]


def front_matter_length(markdown: str) -> int:
    """How many code points of YAML between `---` lines the text begins with."""
    found = _FRONT_MATTER.match(markdown)
    return found.end() if found else 0


def line_starts(markdown: str, start: int = 0) -> list[int]:
    """Where each line from `start` on begins, and where the last one ends, in code points."""
    lines = (len(line) for line in _LINE.findall(markdown, start))
    return list(accumulate(lines, initial=start))


def _place(lines: list[int] | None, starts: list[int]) -> tuple[int, int]:
    first, end = lines or (0, 0)
    return starts[first], starts[end]


def _title(source: str, references: dict[str, Any]) -> str:
    tokens = _parser(blocks=False).parseInline(source, references)[0].children or ()
    parts = (
        token.content if token.type in _TEXT_TOKENS else " " * (token.type in _BREAK_TOKENS)
        for token in tokens
    )
    return " ".join("".join(parts).split())


@cache
def _parser(*, blocks: bool) -> "MarkdownIt":
    """A CommonMark parser; without inline parsing (most of the time it takes) where `blocks`."""
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise missing_dependency("markdown-it-py", "text") from error
    parser = MarkdownIt("commonmark").enable("table")
    return parser.disable("inline") if blocks else parser
