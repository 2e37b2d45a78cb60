"""How other tools lay out their collections."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from ragbridge.errors import InvalidConfigError, shorten

__all__ = ["CollectionLayout", "Place", "check_layout"]

Place: TypeAlias = str | tuple[str, ...]
"""A field or, where there is none of that name, a dynamic key; or a path that begins with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionLayout:
    """Where a collection of another tool keeps what a row is.

    A place is the name of a field; where the collection has no field of that name but dynamic keys,
    that of such a key; or a tuple, a path into a field or key that holds JSON, such as
    `("meta", "objectId")`. What lies in a place of its own is not in the metadata. What has no place
    (None) cannot be stored: to add a row that has it raises.

        from dataclasses import replace

        found = MilvusVectorStore.open("docs", uri=uri).layout
        roomier = replace(found, document_id="source", chunk="chunk", deleted="hidden")
        store = MilvusVectorStore.open("docs", uri=uri, layout=roomier)

    Attributes:
        id: The primary key: strings, or INT64, whose numbers become decimal strings.
        vector: The field of the dense or binary vectors.
        sparse: The field of the sparse vectors that rows bring.
        full_text: The field of those that the engine makes of the texts (BM25).
        content: The text.
        metadata: A JSON object. None: every field and dynamic key that is no other place.
        document_id: The id of the document that the row is a part of.
        index: Its place in that document.
        type: The chunk's type.
        chunk: All of that, a chunk's own id and offsets, and content that is no text; as JSON.
        framework_data: What frameworks need back, as JSON.
        deleted: Whether the row is soft-deleted, true or false; false where it is missing.
        nodes: Rows are LlamaIndex nodes: what `_node_content` says of metadata and source counts,
            and there is a place for all that a row has but soft deletion.
        tool: What made the collection, for `ragbridge info`.

    Raises:
        InvalidConfigError: a place is none; the message names it.
    """

    id: str = "id"
    vector: str | None = None
    sparse: str | None = None
    full_text: str | None = None
    content: Place = "content"
    metadata: Place | None = None
    document_id: Place | None = None
    index: Place | None = None
    type: Place | None = None
    chunk: Place | None = None
    framework_data: Place | None = None
    deleted: Place | None = None
    nodes: bool = False
    tool: str = "a layout of your own"

    def __post_init__(self) -> None:
        for name in _FIELDS:
            _check_field(name, getattr(self, name), required=name == "id")
        for name in _PLACES:
            _check_place(name, getattr(self, name), required=name == "content")
        if self.vector is None and self.sparse is None and self.full_text is None:
            raise InvalidConfigError(
                "a layout needs a field to search by: give vector, sparse or full_text"
            )
        taken = [place for _, place in self.places]
        for place in taken:
            if taken.count(place) > 1:
                raise InvalidConfigError(f"the layout names the place {shorten(place)} twice")

    @property
    def places(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """What has a place, and its path."""
        for name in (*_FIELDS, *_PLACES):
            place = getattr(self, name)
            if place is not None:
                yield name, (place,) if isinstance(place, str) else place

    def described(self) -> dict[str, str]:
        """The places by what lies there, in words."""
        found = {name: ".".join(path) for name, path in self.places}
        if self.nodes:
            return found | {"metadata": _NODE_CONTENT}
        return found if self.metadata is not None else found | {"metadata": "the other fields"}


_NODE_CONTENT: Final = "_node_content"
_FIELDS: Final = ("id", "vector", "sparse", "full_text")
_PLACES: Final = tuple(
    each.name for each in fields(CollectionLayout) if each.name not in (*_FIELDS, "nodes", "tool")
)


def _check_field(name: str, value: object, *, required: bool) -> None:
    if value is None and not required:
        return
    if not isinstance(value, str) or not value:
        raise InvalidConfigError(f"{name} must be the name of a field, not {shorten(value)}")


def _check_place(name: str, value: object, *, required: bool) -> None:
    if isinstance(value, tuple) and value and all(isinstance(each, str) for each in value):
        return
    if isinstance(value, tuple):
        raise InvalidConfigError(f"{name} must be a path of strings, not {shorten(value)}")
    _check_field(name, value, required=required)


def check_layout(value: object, told: Mapping[str, Any]) -> CollectionLayout | bool:
    """`value` as what a store is told of the layout; True: find out, False: it is ragbridge's own.

    Args:
        value: What was given.
        told: The arguments given beside it, by name.

    Raises:
        InvalidConfigError: no layout, or given beside what only new collections take.
    """
    if value is None:
        return False
    if value != "detect" and not isinstance(value, CollectionLayout):
        raise InvalidConfigError(
            f"layout must be a CollectionLayout, 'detect' or None, not {shorten(value)}"
        )
    for name in _FOR_NEW:
        if told.get(name) is not None:
            raise InvalidConfigError(
                f"{name} does not go with layout; the collection is there already"
            )
    return value if isinstance(value, CollectionLayout) else True


_FOR_NEW: Final = ("full_text", "metadata_fields", "json_indexes", "tenant")
