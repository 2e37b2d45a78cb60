"""The contract of every chunker, and what the chunkers here have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeGuard

from ragbridge.chunkers._splitting import TEXT, splitter
from ragbridge.documents import (
    AudioDocument,
    Chunk,
    Document,
    FileDocument,
    ImageDocument,
    JsonValue,
    TextChunk,
)
from ragbridge.errors import InvalidConfigError, InvalidDocumentError, shorten

__all__ = ["Chunker", "TextChunker"]

DEFAULT_CHUNK_SIZE: Final = 1000
"""Code points; about 250 tokens of English, which the small embedding models read without cutting."""

DEFAULT_CHUNK_OVERLAP: Final = 150
"""Code points; one to two sentences, so that a fact at a cut stands whole in one of two chunks."""


class Chunker(ABC):
    """Makes chunks of documents."""

    @abstractmethod
    def chunk(self, document: Document) -> list[Chunk]:
        """The chunks of `document`, in order; they keep its metadata and carry its id.

        Raises:
            InvalidDocumentError: no document, or one that cannot be split.
        """


@dataclass(frozen=True, slots=True)
class Piece:
    """A span of a text, and the metadata that it has beside its document's."""

    start: int
    end: int
    metadata: dict[str, JsonValue] = field(default_factory=dict)


class TextChunker(Chunker):
    """A chunker that splits text.

    A document that is no text becomes one chunk with its content: whether that can be embedded is
    the provider's business.

    Args:
        chunk_size: The most code points in a chunk. White space for which there is no room
            is kept at a chunk's end nonetheless: nothing is lost, and no chunk is blank.
        chunk_overlap: The most code points that a chunk repeats of the one before it.

    Raises:
        InvalidConfigError: a size is no positive integer, or the overlap not smaller than the size.
        MissingDependencyError: a library that it needs is not installed.
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
        self._load()

    def chunk(self, document: Document) -> list[Chunk]:
        """The chunks of `document`, in order; they keep its metadata and carry its id.

        `start` and `end` of each are its place in the text that was split, in code points. Blank
        text has no chunks.

        Raises:
            InvalidDocumentError: no document, a chunk, or text that cannot be read.
        """
        _check_document(document)
        if not _is_text(document):
            return whole_document(document)
        text, pieces = self._split(document.content)
        return [
            TextChunk(
                content=text[piece.start : piece.end],
                metadata={**document.metadata, **piece.metadata},
                document_id=document.id,
                index=index,
                start=piece.start,
                end=piece.end,
            )
            for index, piece in enumerate(pieces)
        ]

    def _load(self) -> None:
        """Import what splitting needs, so that a missing library shows before the first document."""
        splitter(TEXT, self.chunk_size)

    @abstractmethod
    def _split(self, content: str) -> tuple[str, Iterable[Piece]]:
        """The text that `content` holds, and the pieces of it."""

    def __repr__(self) -> str:
        sizes = f"chunk_size={self.chunk_size}, chunk_overlap={self.chunk_overlap}"
        return f"{type(self).__name__}({sizes})"


def _is_text(document: Document) -> bool:
    """Whether the content is text; a string in an image, audio or file document is its address."""
    media = isinstance(document, ImageDocument | AudioDocument | FileDocument)
    return isinstance(document.content, str) and not media


def whole_document(document: Document) -> list[Chunk]:
    """All of `document` as one chunk; blank text has none."""
    given = {"content": document.content, "metadata": document.metadata, "index": 0}
    if not _is_text(document):
        return [Chunk(type=f"{document.type}-chunk", document_id=document.id, **given)]
    if not document.content.strip():
        return []
    return [TextChunk(document_id=document.id, start=0, end=len(document.content), **given)]


def check_sizes(chunk_size: object, chunk_overlap: object) -> None:
    """Refuse sizes that cannot be met.

    Raises:
        InvalidConfigError: see `TextChunker`.
    """
    if not _is_integer(chunk_size) or chunk_size < 1:
        raise InvalidConfigError(
            f"chunk_size must be a positive integer (code points), not {shorten(chunk_size)}"
        )
    if not _is_integer(chunk_overlap) or not 0 <= chunk_overlap < chunk_size:
        raise InvalidConfigError(
            "chunk_overlap must be an integer from 0 to less than chunk_size "
            f"({chunk_size}), not {shorten(chunk_overlap)}"
        )


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_document(document: object) -> None:
    if not isinstance(document, Document):
        raise InvalidDocumentError(f"document must be a Document, not {shorten(document)}")
    if isinstance(document, Chunk):
        raise InvalidDocumentError(
            f"document is a chunk already ({type(document).__name__} {document.id!r}); "
            "chunkers take documents"
        )
