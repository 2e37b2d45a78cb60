"""Putting a text together again from the chunks that it was cut into."""

from collections.abc import Sequence

from ragbridge.documents import Chunk
from ragbridge.errors import InvalidDocumentError


def render_chunks(chunks: Sequence[Chunk]) -> str:
    """The text that `chunks` were cut from; see `VectorKnowledgeBase.render`.

    Raises:
        InvalidDocumentError: a chunk is no text.
    """
    parts: list[str] = []
    covered = 0
    for chunk in sorted(chunks, key=_place):
        text = _text_of(chunk)
        if chunk.start is None or chunk.start > covered:
            parts.append("\n" + text if parts else text)
        else:
            parts.append(text[covered - chunk.start :])
        if chunk.start is not None:
            covered = max(covered, chunk.start + len(text))
    return "".join(parts)


def _place(chunk: Chunk) -> tuple[bool, int, int]:
    return chunk.start is None, chunk.start or 0, chunk.index or 0


def _text_of(chunk: Chunk) -> str:
    if not isinstance(chunk.content, str):
        raise InvalidDocumentError(
            f"document {chunk.document_id!r} has a chunk that is no text ({chunk.type}); "
            "only text can be rendered"
        )
    return chunk.content
