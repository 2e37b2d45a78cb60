"""Splitting text without markup."""

from collections.abc import Iterable

from ragbridge.chunkers._splitting import split_text
from ragbridge.chunkers.base import Piece, TextChunker

__all__ = ["RecursiveChunker"]


class RecursiveChunker(TextChunker):
    """Splits at the highest boundary that fits: paragraphs, lines, sentences, words, characters.

    The chunks cover the text without a gap: `text[chunk.start:chunk.end] == chunk.content`. See
    `TextChunker` for the arguments.
    """

    def _split(self, content: str) -> tuple[str, Iterable[Piece]]:
        spans = split_text(content, self.chunk_size, self.chunk_overlap)
        return content, (Piece(start, end) for start, end in spans)
