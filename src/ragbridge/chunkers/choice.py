"""Which chunker for which document."""

from pathlib import PurePosixPath
from typing import Final

from ragbridge.chunkers.base import (
    DEFAULT_CHUNK_OVERLAP,
    DEFAULT_CHUNK_SIZE,
    Chunker,
    TextChunker,
    check_sizes,
)
from ragbridge.chunkers.html import HtmlChunker
from ragbridge.chunkers.markdown import MarkdownChunker
from ragbridge.chunkers.recursive import RecursiveChunker
from ragbridge.documents import Chunk, Document

__all__ = ["AUTO", "AutoChunker", "choose_chunker"]

_BY_MIME_TYPE: Final[dict[str, type[TextChunker]]] = {
    "text/markdown": MarkdownChunker,
    "text/x-markdown": MarkdownChunker,
    "text/html": HtmlChunker,
    "application/xhtml+xml": HtmlChunker,
}
_BY_SUFFIX: Final[dict[str, type[TextChunker]]] = {
    ".md": MarkdownChunker,
    ".markdown": MarkdownChunker,
    ".html": HtmlChunker,
    ".htm": HtmlChunker,
    ".xhtml": HtmlChunker,
}
_SAYS_NOTHING: Final = frozenset(["", "text/plain", "application/octet-stream"])


def choose_chunker(
    document: Document,
    *,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    chunk_overlap: int = DEFAULT_CHUNK_OVERLAP,
) -> Chunker:
    """The chunker for `document`, by its metadata's `mime_type`, else by its `file_name`.

    Markdown and HTML have their own, all else gets a `RecursiveChunker`. The suffix decides where
    the type is missing or says nothing (`text/plain`, `application/octet-stream`).

    Raises:
        InvalidConfigError: a size is wrong; see `TextChunker`.
    """
    mime_type = _text(document, "mime_type").partition(";")[0].strip()
    suffix = PurePosixPath(_text(document, "file_name").strip()).suffix
    chosen = _BY_SUFFIX.get(suffix) if mime_type in _SAYS_NOTHING else _BY_MIME_TYPE.get(mime_type)
    return (chosen or RecursiveChunker)(chunk_size=chunk_size, chunk_overlap=chunk_overlap)


def _text(document: Document, key: str) -> str:
    value = document.metadata.get(key)
    return value.lower() if isinstance(value, str) else ""


class AutoChunker(Chunker):
    """Gives every document the chunker that `choose_chunker` chooses.

    Raises:
        InvalidConfigError: a size is wrong; see `TextChunker`.
    """

    def __init__(
        self,
        *,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        chunk_overlap: int = DEFAULT_CHUNK_OVERLAP,
    ) -> None:
        check_sizes(chunk_size, chunk_overlap)
        self.chunk_size = chunk_size
        self.chunk_overlap = chunk_overlap

    def chunk(self, document: Document) -> list[Chunk]:
        """The chunks that the chosen chunker makes."""
        chunker = choose_chunker(
            document, chunk_size=self.chunk_size, chunk_overlap=self.chunk_overlap
        )
        return chunker.chunk(document)


AUTO: Final = AutoChunker()
"""The chunker for the document at hand, with the default sizes."""
