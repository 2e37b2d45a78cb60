"""A second look at the chunks that go into a store.

Chunks are checked where they are made, but their metadata are dicts that can be changed afterwards,
`model_copy` checks nothing, and a plain `Chunk` takes any content: what a store could not give back
is found here, before anything is written.
"""

from collections.abc import Sequence
from typing import Any

from ragbridge.documents import Chunk, TextChunk, are_texts, is_plain_json, validate_metadata
from ragbridge.errors import InvalidDocumentError
from ragbridge.stores.base import VectorEntry

_MAX_PLACE = 2**63 - 1
_ROWS_AT_ONCE = 2048  # what stays in a processor's cache while it is looked at repeatedly


def check_contents(entries: list[VectorEntry], first: int = 0) -> list[VectorEntry]:
    """`entries` with chunks of the kinds `Chunk` and `TextChunk` that hold only valid values.

    Entries that are in order, as nearly all are, come back as they are.

    Args:
        entries: What is checked.
        first: The place of the first one among those that were given.

    Raises:
        InvalidDocumentError: a chunk or its metadata became invalid, its content is neither text nor
            bytes nor JSON, or it has fields that no store keeps.
    """
    parts = range(0, len(entries), _ROWS_AT_ONCE)
    if all(are_valid(entries[start : start + _ROWS_AT_ONCE]) for start in parts):
        return entries
    return [_remake(entry, position) for position, entry in enumerate(entries, first)]


def are_valid(entries: Sequence[VectorEntry]) -> bool:
    """Whether every entry's chunk and `framework_data` certainly hold only what a store can give back.

    A fast look at many at once; where it says no, `check_contents` decides and names what is wrong.
    """
    chunks = [entry.chunk for entry in entries]
    return (
        set(map(type, chunks)) <= {Chunk, TextChunk}
        and _are_names([chunk.type for chunk in chunks])
        and _are_names(_given([chunk.document_id for chunk in chunks]))
        and _are_names(_given([chunk.id for chunk in chunks]))
        and _are_places(_given([chunk.index for chunk in chunks]))
        and _are_places(_given([chunk.start for chunk in chunks]))
        and _are_places(_given([chunk.end for chunk in chunks]))
        and _are_objects([chunk.metadata for chunk in chunks])
        and _are_objects([entry.framework_data for entry in entries])
        and are_texts([chunk.content for chunk in chunks if type(chunk) is TextChunk])
        and _are_contents([chunk.content for chunk in chunks if type(chunk) is Chunk])
    )


def _given(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _are_names(values: list[Any]) -> bool:
    return are_texts(values) and "" not in values


def _are_places(values: list[Any]) -> bool:
    return not values or (
        set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= _MAX_PLACE
    )


def _are_objects(values: Sequence[object]) -> bool:
    return set(map(type, values)) == {dict} and is_plain_json(filter(None, values))


def _are_contents(values: Sequence[object]) -> bool:
    return is_plain_json(value for value in values if type(value) is not bytes)


def _remake(entry: VectorEntry, position: int) -> VectorEntry:
    try:
        return VectorEntry(
            id=entry.id,
            embedding=entry.embedding,
            chunk=_remake_chunk(entry.chunk),
            framework_data=entry.framework_data,
            deleted=entry.deleted,
        )
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"entries[{position}] (id {entry.id!r}): {error}") from error


def _remake_chunk(chunk: Chunk) -> Chunk:
    kind: type[Chunk] = TextChunk if isinstance(chunk, TextChunk) else Chunk
    given = dict(chunk)
    extra = given.keys() - kind.model_fields
    if extra:
        raise InvalidDocumentError(
            f"{type(chunk).__name__} has the fields {', '.join(sorted(extra))}, which no store keeps; "
            "put them into metadata"
        )
    return kind(**{**given, "content": _check_content(chunk.content)})


def _check_content(content: Any) -> Any:
    if isinstance(content, bytes):
        return content
    try:
        return validate_metadata({"content": content})["content"]
    except InvalidDocumentError:  # its message shows the value, which an error must not do
        raise InvalidDocumentError(
            f"content must be text, bytes or JSON to be stored, not {type(content).__name__} "
            "that holds anything else"
        ) from None
