"""Facts written as `Key: value` in Markdown, as typed metadata of the chunks they stand over."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from ragbridge.chunkers.base import Chunker
from ragbridge.chunkers.choice import AUTO, choose_chunker
from ragbridge.chunkers.markdown import MarkdownChunker, front_matter_length, line_starts
from ragbridge.documents import Chunk, Document, JsonValue, validate_metadata
from ragbridge.errors import InvalidDocumentError, missing_dependency

if TYPE_CHECKING:
    from markdown_it.token import Token

_FIELD: Final = re.compile(r"([^\W\d_][\w ()/&.-]{0,39}?)\s*:\s+(\S.*)")
_NUMBER: Final = re.compile(r"[$€£¥]?\s?([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s?[$€£¥]?")
_LONGEST_VALUE: Final = 200


class FieldExtractor(Chunker):
    """Puts front matter and `Key: value` lines into the metadata of another chunker's chunks.

    A field is a list item or a paragraph line such as `Price: $749` or `- **Price:** $749`. It
    holds for the section of the heading that it stands under and for the sections inside that one;
    front matter (YAML) holds for the whole document. Keys become snake case (`In stock` ->
    `in_stock`); numbers, with or without a currency sign, and true and false get their types, all
    else stays text. What a chunk's metadata holds already is never replaced.

    Documents that are no Markdown pass unchanged.

    Args:
        chunker: Makes the chunks, with their offsets in the document's content.
    """

    def __init__(self, chunker: Chunker = AUTO) -> None:
        self.chunker = chunker

    def chunk(self, document: Document) -> list[Chunk]:
        """The other chunker's chunks, with the fields of their sections in their metadata.

        Raises:
            InvalidDocumentError: the front matter is no YAML.
        """
        chunks = self.chunker.chunk(document)
        if not isinstance(choose_chunker(document), MarkdownChunker):
            return chunks
        sections = read_fields(document.content)
        starts = [start for start, _ in sections]
        return [_with_fields(chunk, sections[_section_of(chunk, starts)][1]) for chunk in chunks]


def _section_of(chunk: Chunk, starts: list[int]) -> int:
    # The end decides: a chunk may begin with the bare headings above its own.
    return bisect_left(starts, chunk.end or 1) - 1


def _with_fields(chunk: Chunk, fields: dict[str, JsonValue]) -> Chunk:
    return chunk.model_copy(update={"metadata": {**fields, **chunk.metadata}})


def read_fields(markdown: str) -> list[tuple[int, dict[str, JsonValue]]]:
    """Where each section starts, in code points, and the fields that hold in it.

    The first section starts at 0 and holds what stands before the first heading.

    Raises:
        InvalidDocumentError: the front matter is no YAML.
    """
    length = front_matter_length(markdown)
    offsets = line_starts(markdown, length)
    sections = [(0, _read_front_matter(markdown[:length]))]
    enclosing = [(0, sections[0][1])]
    for token in _blocks(markdown[length:]):
        if token.type == "inline":
            sections[-1][1].update(_paragraph_fields(token))
            continue
        level = int(token.tag[1])
        while enclosing[-1][0] >= level:
            enclosing.pop()
        fields = dict(enclosing[-1][1])
        sections.append((offsets[token.map[0] if token.map else 0], fields))
        enclosing.append((level, fields))
    return sections


def _read_front_matter(text: str) -> dict[str, JsonValue]:
    body = "".join(text.splitlines(keepends=True)[1:-1])
    try:
        import yaml
    except ImportError as error:
        raise missing_dependency("PyYAML", "text") from error
    try:
        data = yaml.safe_load(body)
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidDocumentError(f"the front matter is no YAML: {error}") from error
    if not isinstance(data, dict):
        return {}
    return validate_metadata({_key_name(str(key)): _plain(value) for key, value in data.items()})


def _plain(value: Any) -> Any:
    """YAML's dates, and datetimes without a zone, as ISO text, which compares as dates do."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, date) and not (isinstance(value, datetime) and value.tzinfo):
        return value.isoformat()
    return value


def _blocks(markdown: str) -> Iterator["Token"]:
    """Every heading that begins a section, and the text of every paragraph outside of quotes."""
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise missing_dependency("markdown-it-py", "text") from error
    tokens = MarkdownIt("commonmark").parse(markdown)
    quotes = 0
    for token, following in pairwise(tokens):
        quotes += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        if token.type == "heading_open" and not token.level:
            yield token
        elif token.type == "paragraph_open" and not quotes:
            yield following


def _paragraph_fields(token: "Token") -> dict[str, JsonValue]:
    text = "".join(
        "\n" if child.type in ("softbreak", "hardbreak") else child.content
        for child in token.children or ()
    )
    fields = [_FIELD.fullmatch(line.strip()) for line in text.split("\n")]
    if not all(field and len(field[2]) <= _LONGEST_VALUE for field in fields):
        return {}  # prose
    return {_key_name(field[1]): _typed(field[2].strip()) for field in fields if field}


def _key_name(text: str) -> str:
    return "_".join(re.findall(r"\w+", text.lower())) or text


def _typed(text: str) -> JsonValue:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    number = _NUMBER.fullmatch(text)
    if not number:
        return text
    digits = number[1].replace(",", "")
    value = float(digits) if "." in digits else int(digits)
    return value if abs(value) < 2**63 else text
