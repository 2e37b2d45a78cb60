"""A collection that another tool made, as the rest of the store sees it.

Calls are made, and rows read, as if the collection were one of ragbridge's: `Opened` says where
things lie instead. So searching, paging, counting and deleting are the same for both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ragbridge.errors import InvalidConfigError
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.milvus.connection import Call
from ragbridge.stores.milvus.expressions import EVERYTHING, one_of
from ragbridge.stores.milvus.foreign.fields import Fields
from ragbridge.stores.milvus.foreign.layouts import CollectionLayout
from ragbridge.stores.milvus.foreign.nodes import CONTENT_KEY
from ragbridge.stores.milvus.foreign.reading import RowReader
from ragbridge.stores.milvus.layout import BM25, SPARSE, VECTOR
from ragbridge.stores.milvus.literals import literal

__all__ = ["Opened", "is_int64"]

_ANY_ID: Final = {"VARCHAR": '{id} >= ""', "INT64": "({id} >= 0 or {id} < 0)"}
_INT64: Final = 2**63


@dataclass(frozen=True, slots=True)
class Opened:
    """An open collection of another tool.

    Attributes:
        name: The collection's.
        layout: Where what lies.
        fields: Its fields.
    """

    name: str
    layout: CollectionLayout
    fields: Fields = field(compare=False)
    rows: RowReader = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "rows", RowReader(self.layout, self.fields))

    @property
    def shape(self) -> VectorShape:
        """The vectors that every row brings."""
        vector = None if self.layout.vector is None else self.fields[self.layout.vector]
        return VectorShape(
            None if vector is None else vector.dimension,
            sparse=self.layout.sparse is not None,
            binary=vector is not None and vector.type == "BINARY_VECTOR",
        )

    @property
    def full_text(self) -> FullTextOptions | None:
        """How texts are analysed, as far as queries need to know."""
        return None if self.layout.full_text is None else FullTextOptions()

    @property
    def has_int_ids(self) -> bool:
        """Whether ids are numbers."""
        return self.fields.id.type == "INT64"

    def field_of(self, name: str) -> str:
        """The field of vectors that ragbridge calls `name`."""
        places = {
            VECTOR: self.layout.vector,
            SPARSE: self.layout.sparse,
            BM25: self.layout.full_text,
        }
        return places.get(name) or name

    # Expressions

    def expression(self, filter: str) -> str:
        """A whole filter, as the collection can read it."""
        if filter == EVERYTHING:
            return _ANY_ID[self.fields.id.type].format(id=self.layout.id)
        return filter

    def with_ids(self, ids: Iterable[str]) -> str:
        """The rows with these ids."""
        if not self.has_int_ids:
            return one_of(self.layout.id, [*ids])
        numbers = [int(each) for each in ids if is_int64(each)]
        safe = [number for number in numbers if number > -_INT64]
        return one_of(self.layout.id, safe)

    def compare_id(self, operator: str, id: str) -> str:
        """The rows whose ids compare so with `id`, in the order of the engine."""
        return f"{self.layout.id} {operator} {literal(int(id) if self.has_int_ids else id)}"

    # Calls and answers

    def call(self, call: Call) -> Call:
        """A read, with what it reads as the collection calls it."""
        asked = call.arguments.get("output_fields", ())
        if asked == ["count(*)"] and call.arguments["filter"] == self.expression(EVERYTHING):
            return Call(call.method, {**call.arguments, "filter": ""})
        if not asked or asked == ["count(*)"]:
            return call
        fields = sorted(self.rows.sources(asked))
        return Call(call.method, {**call.arguments, "output_fields": fields})

    def answer(self, call: Call, answer: Any) -> Any:
        """What a read gave, as if from a collection of ragbridge's."""
        asked = call.arguments.get("output_fields", ())
        if not asked or asked == ["count(*)"]:
            return answer
        if call.method == "query":
            return [self.rows.read(row, asked) for row in answer]
        return [[self._hit(hit, asked) for hit in hits] for hits in answer]

    def _hit(self, hit: Mapping[str, Any], asked: Sequence[str]) -> dict[str, Any]:
        own = hit[self.layout.id] if self.layout.id in hit else hit["id"]
        entity = {**hit["entity"], self.layout.id: own}
        return {
            "id": str(own),
            "distance": hit["distance"],
            "entity": self.rows.read(entity, asked),
        }

    # What the collection must be

    def _check(self) -> None:
        wrong = [
            f"{name} names {place[0]!r}, which it has not"
            for name, place in self.layout.places
            if place[0] not in self.fields and (self._is_field(name) or not self.fields.is_dynamic)
        ]
        if self.layout.id != self.fields.id.name:
            wrong.append(f"its primary key is {self.fields.id.name!r}, not {self.layout.id!r}")
        if self.fields.id.type not in _ANY_ID:
            wrong.append(f"its primary key is {self.fields.id.type}, not VARCHAR or INT64")
        if self.layout.nodes and not self.fields.is_dynamic:
            wrong.append(f"it has no dynamic keys, among which {CONTENT_KEY} would be")
        if wrong:
            raise InvalidConfigError(
                f"the layout does not fit the collection {self.name!r}: {'; '.join(wrong)}"
            )

    @staticmethod
    def _is_field(name: str) -> bool:
        return name in ("id", "vector", "sparse", "full_text")


def is_int64(id: str) -> bool:
    """Whether an id is an integer of 64 bits, written as Python writes it."""
    try:
        number = int(id)
    except ValueError:
        return False
    return str(number) == id and -_INT64 <= number < _INT64
