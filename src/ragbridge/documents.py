"""Documents, chunks and their metadata.

After the Ballerina proposal "Abstractions for Retrieval-Augmented Generation": a `Document` is
content with metadata, a `Chunk` is a part of one that is embedded and stored on its own.
"""

from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from math import copysign, isfinite
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from ragbridge.errors import InvalidDocumentError, shorten

__all__ = [
    "WELL_KNOWN_METADATA_KEYS",
    "AudioDocument",
    "BinaryDocument",
    "Chunk",
    "Document",
    "FileDocument",
    "ImageDocument",
    "JsonValue",
    "Metadata",
    "TextChunk",
    "TextDocument",
]

WELL_KNOWN_METADATA_KEYS: Final = (
    "mime_type",  # str, e.g. "text/markdown"
    "file_name",  # str
    "file_size",  # int, bytes
    "created_at",  # datetime
    "modified_at",  # datetime
    "index",  # int, place of a chunk in its document
    "header",  # str, the heading a chunk stands under
    "language",  # str, BCP 47 tag
)
"""Keys with an agreed meaning. Any other string is a key too, and none is required."""

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_MAX_DEPTH = 64


def format_datetime(value: datetime, where: str) -> str:
    """The form in which datetimes are stored and compared: `YYYY-MM-DDTHH:MM:SS.ffffffZ`.

    Raises:
        InvalidDocumentError: `value` has no time zone, or leaves years 1 to 9999 in UTC.
    """
    if value.utcoffset() is None:
        raise InvalidDocumentError(
            f"{where} is a datetime without a time zone ({shorten(value)}); "
            "give one, e.g. value.replace(tzinfo=timezone.utc)"
        )
    try:
        in_utc = value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidDocumentError(f"{where} is out of range in UTC: {value!r}") from error
    return in_utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def validate_metadata(metadata: object) -> dict[str, JsonValue]:
    """A deep copy of `metadata` as JSON: datetimes as text, tuples as lists, -0.0 as 0.0.

    Raises:
        InvalidDocumentError: names the key and what is wrong with it.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidDocumentError(
            f"metadata must be a mapping of strings to JSON values, not {shorten(metadata)}"
        )
    return {_key(key, "metadata"): _json(value, key, 1) for key, value in metadata.items()}


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise InvalidDocumentError(
            f"{where} has the key {shorten(key)}; keys must be strings, e.g. {str(key)!r}"
        )
    return _text(key, f"the key in {where}")


def _json(value: object, where: str, depth: int) -> JsonValue:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        return _integer(int(value), where)
    if isinstance(value, float):
        return _number(float(value), where)
    if isinstance(value, datetime):
        return format_datetime(value, f"metadata {where!r}")
    return _container(value, where, depth)


def _container(value: object, where: str, depth: int) -> JsonValue:
    if depth > _MAX_DEPTH:
        raise InvalidDocumentError(
            f"metadata {where!r} is nested deeper than {_MAX_DEPTH} levels; flatten it"
        )
    if isinstance(value, Mapping):
        return {
            _key(key, f"metadata {where!r}"): _json(item, where, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_json(item, where, depth + 1) for item in value]
    raise InvalidDocumentError(
        f"metadata {where!r} is no JSON value: {shorten(value)}; give a string, number, boolean, "
        "None, list or dict (datetimes with a time zone are accepted too)"
    )


def _integer(value: int, where: str) -> int:
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise InvalidDocumentError(
            f"metadata {where!r} is an integer beyond 64 bits ({shorten(value)}); store it as text"
        )
    return value


def _number(value: float, where: str) -> float:
    if not isfinite(value):
        raise InvalidDocumentError(
            f"metadata {where!r} is {value!r}, which JSON cannot hold; use None"
        )
    return value + 0.0  # -0.0 becomes 0.0


def _text(value: str, where: str) -> str:
    if type(value) is str and value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidDocumentError(
            f"{where} holds a lone surrogate, which is no Unicode text: {ascii(value)[:60]}"
        ) from error
    return str.__str__(value)  # a plain string, also of a str-based Enum


def is_plain_json(values: Iterable[object]) -> bool:
    """Whether every value is certainly JSON as `validate_metadata` leaves it.

    A fast look at many rows at once, level by level. Where it says no, `validate_metadata` decides,
    converts, and names what is wrong.
    """
    level: list[Any] = list(values)
    for _ in range(_MAX_DEPTH):
        nested: list[Any] = []
        for kind, same in _by_kind(level):
            if kind not in _LOOKS or not _LOOKS[kind](same):
                return False
            if kind is dict:
                nested += chain.from_iterable(map(dict.values, same))
            elif kind is list:
                nested += chain.from_iterable(same)
        if not nested:
            return True
        level = nested
    return False


def _by_kind(values: list[Any]) -> Iterable[tuple[type, list[Any]]]:
    kinds = {*map(type, values)}
    if len(kinds) == 1:
        return [(kinds.pop(), values)]
    of_kind: defaultdict[type, list[Any]] = defaultdict(list)
    for value in values:
        of_kind[type(value)].append(value)
    return of_kind.items()


def are_texts(values: Sequence[object]) -> bool:
    """Whether every value is a plain string without lone surrogates."""
    if not set(map(type, values)) <= {str}:
        return False
    text = "".join(values)  # type: ignore[arg-type]
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_int64(values: list[Any]) -> bool:
    return bool(min(values) >= _INT64_MIN and max(values) <= _INT64_MAX)


def _are_finite(values: list[Any]) -> bool:
    zeros = [value for value in values if not value]
    return all(map(isfinite, values)) and all(copysign(1.0, zero) > 0 for zero in zeros)


def _have_text_keys(values: list[Any]) -> bool:
    return are_texts(tuple(set(chain.from_iterable(values))))


_LOOKS: Final[Mapping[type, Callable[[list[Any]], bool]]] = {
    type(None): bool,
    bool: bool,
    int: _are_int64,
    float: _are_finite,
    str: are_texts,
    list: bool,
    dict: _have_text_keys,
}


Metadata = Annotated[dict[str, JsonValue], BeforeValidator(validate_metadata)]
"""String keys to JSON values; see `WELL_KNOWN_METADATA_KEYS`. Datetimes with a zone are accepted."""


def _validate_id(value: object) -> object:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidDocumentError(f"an id must be a string or None, not {shorten(value)}")
    if not value:
        raise InvalidDocumentError("an id must not be the empty string; use None for a new one")
    return _text(value, "an id")


def _validate_content(value: str) -> str:
    return _text(value, "content")


def _validate_type(value: str) -> str:
    return _text(value, "type")


def _decode_bytes(value: object, info: ValidationInfo) -> object:
    # Our wrapping validator hides from pydantic's own `val_json_bytes` that the input was JSON.
    return urlsafe_b64decode(value) if info.mode == "json" and isinstance(value, str) else value


_Id = Annotated[str | None, BeforeValidator(_validate_id)]
_TypeName = Annotated[str, Field(min_length=1), AfterValidator(_validate_type)]
_Text = Annotated[str, AfterValidator(_validate_content)]
_Bytes = Annotated[bytes, BeforeValidator(_decode_bytes)]


class Document(BaseModel):
    """Content with metadata.

    Attributes:
        id: The document's id, or None.
        type: What kind of content it is; every subclass has its own.
        content: The content itself; its Python type depends on `type`.
        metadata: String keys to JSON values, checked and copied when the document is made.

    Documents are immutable; `model_copy(update=...)` makes changed ones without checking them.

    Raises:
        InvalidDocumentError: a field or a metadata value is wrong; the message names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", strict=True)

    id: _Id = None
    type: _TypeName = "document"
    content: Any
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _raise_our_error(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the arguments"
            raise InvalidDocumentError(
                f"{cls.__name__}: {field}: {first['msg']}; got {shorten(first['input'])}"
            ) from error


class TextDocument(Document):
    """Text: plain, Markdown, HTML, as its metadata's `mime_type` or `file_name` says."""

    type: _TypeName = "text"
    content: _Text


class ImageDocument(Document):
    """An image: its bytes, or the URL where it lies."""

    type: _TypeName = "image"
    content: bytes | _Text


class AudioDocument(Document):
    """Audio: its bytes, or the URL where it lies."""

    type: _TypeName = "audio"
    content: bytes | _Text


class FileDocument(Document):
    """A file of any kind: its bytes, or the URL or path where it lies."""

    type: _TypeName = "file"
    content: bytes | _Text


class BinaryDocument(Document):
    """Bytes of no particular kind."""

    type: _TypeName = "binary"
    content: _Bytes


class Chunk(Document):
    """A part of a document that is embedded and stored on its own.

    Attributes:
        document_id: The id of the document it is a part of, or None.
        index: Its place in that document, from 0, or None.
        start: Where it begins in the text that was split, in code points, or None.
        end: Where it ends there (exclusive), or None.
    """

    type: _TypeName = "chunk"
    document_id: _Id = None
    index: int | None = Field(default=None, ge=0, le=_INT64_MAX)
    start: int | None = Field(default=None, ge=0, le=_INT64_MAX)
    end: int | None = Field(default=None, ge=0, le=_INT64_MAX)


class TextChunk(Chunk):
    """A piece of text."""

    type: _TypeName = "text-chunk"
    content: _Text
