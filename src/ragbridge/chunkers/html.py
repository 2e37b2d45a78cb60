"""Splitting HTML at its headings."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ragbridge.chunkers._sections import Heading, find_sections, split_sections
from ragbridge.chunkers._splitting import TEXT
from ragbridge.chunkers.base import Piece, TextChunker
from ragbridge.errors import InvalidDocumentError, missing_dependency

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from bs4.element import PageElement, Tag

__all__ = ["HtmlChunker", "html_to_text"]

_INVISIBLE: Final = frozenset(["script", "style", "template", "noscript", "title", "iframe"])
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_PREFORMATTED: Final = frozenset(["pre", "textarea", "listing"])

# What stands between two pieces of text; of several the last in this order wins.
_NOTHING, _SPACE, _TAB, _LINE, _PARAGRAPH = _STRENGTHS = ("", " ", "\t", "\n", "\n\n")
_CELLS = ["td", "th"]
_LINES = "div li tr dt dd option legend summary caption figcaption thead tbody tfoot".split()
_PARAGRAPHS = (
    "address article aside blockquote body details dl fieldset figure footer form h1 h2 h3 h4 h5 h6 "
    "header hr main nav ol p pre section table ul"
).split()
_SEPARATORS: Final = {
    **dict.fromkeys(_CELLS, _TAB),
    **dict.fromkeys(_LINES, _LINE),
    **dict.fromkeys(_PARAGRAPHS, _PARAGRAPH),
}

_XML_DECLARATION: Final = re.compile(r"<\?xml\b[^>]*>", re.IGNORECASE)
_WHITE_SPACE: Final = re.compile(r"[ \t\n\r\f]+")  # HTML's own: a no-break space stays


class HtmlChunker(TextChunker):
    """Splits the visible text of HTML: every heading begins a chunk, long sections are cut.

    A chunk's metadata has `header`, the text of the heading that it stands under, and `headers`, the
    list of headings from the outermost to that one; before the first heading the page's title takes
    their place. A heading with nothing under it but a deeper one is kept with that one. `start` and
    `end` count in the visible text, which `html_to_text` returns, and which the chunks cover without
    a gap. See `TextChunker` for the arguments.
    """

    def _load(self) -> None:
        super()._load()
        _parse("")

    def _split(self, content: str) -> tuple[str, Iterable[Piece]]:
        page = _read_page(content)
        sections = find_sections(page.text, page.headings, page.title)
        return page.text, split_sections(
            page.text, sections, self.chunk_size, self.chunk_overlap, TEXT
        )


@dataclass(frozen=True, slots=True)
class _Page:
    """The visible text of an HTML page, its headings in that text, and its title."""

    text: str
    headings: list[Heading]
    title: str


def html_to_text(html: str) -> str:
    """The visible text of `html`.

    Left out are scripts, styles, templates, noscript, iframes, comments and the title; whether a
    style sheet hides an element is not known here. White space is collapsed, but for preformatted
    text; lines, table rows and list items get a line each, cells are kept apart by a tab and
    paragraphs by a blank line.

    Raises:
        InvalidDocumentError: no parser can read it.
        MissingDependencyError: beautifulsoup4 is not installed.
    """
    return _read_page(html).text


def _read_page(html: str) -> _Page:
    """The visible text, the headings and the title of `html`; see `html_to_text`."""
    soup = _parse(html)
    writer = _PageWriter()
    for node, entering in _walk(soup):
        writer.visit(node, entering)
    title = soup.title.get_text() if soup.title else ""
    return _Page("".join(writer.parts), writer.headings, " ".join(title.split()))


def _parse(html: str) -> "BeautifulSoup":
    try:
        from bs4 import BeautifulSoup
        from bs4.builder import ParserRejectedMarkup
    except ImportError as error:
        raise missing_dependency("beautifulsoup4", "text") from error
    # Without an XML declaration and with a line end, nothing looks like XML or like a file name,
    # about which the parser would warn.
    markup = _XML_DECLARATION.sub("", html) + "\n"
    try:
        return BeautifulSoup(markup, "html.parser")
    except ParserRejectedMarkup as error:
        raise InvalidDocumentError(f"content is no HTML that can be read: {error}") from error


def _walk(root: "Tag") -> Iterator[tuple["PageElement", bool]]:
    """Every visible node in document order: (node, True), and (element, False) at its end."""
    from bs4.element import Tag

    stack: list[tuple[PageElement, bool]] = [(root, True)]  # unclosed elements nest without limit
    while stack:
        node, entering = stack.pop()
        if isinstance(node, Tag) and node.name in _INVISIBLE:
            continue
        yield node, entering
        if isinstance(node, Tag) and entering:
            stack.append((node, False))
            stack.extend((child, True) for child in reversed(node.contents))


@dataclass(slots=True)
class _PageWriter:
    """Puts text together as it is met."""

    parts: list[str] = field(default_factory=list)
    headings: list[Heading] = field(default_factory=list)
    _length: int = 0
    _separator: str = _NOTHING
    _preformatted: int = 0
    _heading: tuple[int, int, int] | None = None  # level, number of parts, length at its beginning

    def visit(self, node: "PageElement", entering: bool) -> None:
        from bs4.element import NavigableString, PreformattedString, Tag

        if isinstance(node, Tag):
            self._tag(node.name, entering)
        elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
            self._text(str(node))  # the others are comments, declarations and the like

    def _tag(self, name: str, entering: bool) -> None:
        if name in _HEADINGS:
            self._end_heading()
        if name == "br" and entering:
            self._separate(_PARAGRAPH if self._separator == _LINE else _LINE)
        self._separate(_SEPARATORS.get(name, _NOTHING))
        if name in _HEADINGS and entering:
            self._heading = (_HEADINGS[name], len(self.parts), self._length)
        if name in _PREFORMATTED:
            self._preformatted += 1 if entering else -1

    def _separate(self, separator: str) -> None:
        self._separator = max(self._separator, separator, key=_STRENGTHS.index)

    def _text(self, text: str) -> None:
        if self._preformatted:
            self._write(text)
            return
        collapsed = _WHITE_SPACE.sub(" ", text)
        if collapsed.startswith(" "):
            self._separate(_SPACE)
        self._write(collapsed.strip(" "))
        if collapsed.endswith(" "):
            self._separate(_SPACE)

    def _write(self, text: str) -> None:
        if not text:
            return
        for part in (self._separator if self._length else "", text):
            self.parts.append(part)
            self._length += len(part)
        self._separator = _NOTHING

    def _end_heading(self) -> None:
        if self._heading is None:
            return
        level, first, length = self._heading
        self._heading = None
        written = "".join(self.parts[first:])
        if written.strip():
            start = length + len(written) - len(written.lstrip())
            self.headings.append(Heading(level, " ".join(written.split()), start, self._length))
