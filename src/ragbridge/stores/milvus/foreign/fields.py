"""The fields of a collection, as the engine describes them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["DENSE_TYPES", "Field", "Fields"]

DENSE_TYPES: Final = ("FLOAT_VECTOR", "BINARY_VECTOR")
DYNAMIC: Final = "$meta"
"""What Milvus calls all dynamic keys together."""

_BM25: Final = 1  # FunctionType.BM25


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        name: The field's.
        type: The name of its `DataType`.
        max_length: Of a text, or None.
        dimension: Of a vector, or None.
        is_optional: It may be null, or is filled in where a row lacks it.
        is_nullable: It may be null.
    """

    name: str
    type: str
    max_length: int | None
    dimension: int | None
    is_optional: bool
    is_nullable: bool

    @property
    def is_vector(self) -> bool:
        """Whether it is one of vectors, of whatever kind."""
        return self.type.endswith("VECTOR")


class Fields:
    """All of them.

    Args:
        description: What `describe_collection` returns.

    Attributes:
        id: The primary key.
        auto_id: The engine gives the ids.
        is_dynamic: Rows may have keys beyond the fields.
        bm25: The fields that the engine fills for full-text search, and the texts that it takes.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        described = description["fields"]
        self._by_name = {each["name"]: _field(each) for each in described}
        primary = next(each for each in described if each.get("is_primary"))
        self.id = self._by_name[primary["name"]]
        self.auto_id = bool(description.get("auto_id") or primary.get("auto_id"))
        self.is_dynamic = bool(description.get("enable_dynamic_field"))
        self.bm25 = dict(_bm25(description.get("functions") or ()))

    def __iter__(self) -> Iterator[Field]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Field:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Field | None:
        """The field of this name, if there is one."""
        return self._by_name.get(name)

    @property
    def names(self) -> set[str]:
        """Their names."""
        return set(self._by_name)


def _field(described: Mapping[str, Any]) -> Field:
    params = described.get("params") or {}
    length, dimension = params.get("max_length"), params.get("dim")
    nullable = bool(described.get("nullable"))
    return Field(
        name=described["name"],
        type=described["type"].name,
        max_length=None if length is None else int(length),
        dimension=None if dimension is None else int(dimension),
        is_optional=nullable or described.get("default_value") is not None,
        is_nullable=nullable,
    )


def _bm25(functions: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for each in functions:
        if int(each["type"]) == _BM25:
            yield each["output_field_names"][0], each["input_field_names"][0]
