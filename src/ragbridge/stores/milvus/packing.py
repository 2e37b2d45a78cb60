"""Rows by field, and the requests that write them.

pymilvus takes rows one by one and packs them value by value, which takes about as long as the engine
needs to write them. A request holds them field by field. So that is how they are made here, and
pymilvus is handed what it would have made of them. This is the one place that reaches into how it makes
its requests; a pymilvus that makes them otherwise is given rows, as anybody would give them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import isawaitable, iscoroutinefunction
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ragbridge.embeddings import SparseVector, Vector
from ragbridge.errors import missing_dependency

__all__ = ["DYNAMIC", "Field", "RowData", "Rows", "take_row_data", "to_json"]

DYNAMIC: Final = "$meta"
"""The field of all keys that have no field of their own, as one JSON object."""

_MOST_BYTES_BESIDE: Final = 8
"""That a value takes in a request beside its own; also the most that a number takes."""


@dataclass(frozen=True, slots=True)
class Field:
    """The values of one field, one for each row.

    Attributes:
        type: The name of its `DataType`.
        values: JSON as bytes, dense vectors as arrays, binary ones as arrays of bytes.
    """

    type: str
    values: Sequence[Any]

    def part(self, start: int, stop: int) -> "Field":
        """The values from `start` to `stop`."""
        return Field(self.type, self.values[start:stop])


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows by field.

    Attributes:
        fields: By name; all of them have as many values.
    """

    fields: Mapping[str, Field]

    @classmethod
    def joined(cls, groups: Sequence["Rows"]) -> "Rows":
        """The rows of some groups with the same fields, one group after the other."""
        fields = {}
        for name, field in groups[0].fields.items():
            values = chain.from_iterable(group.values(name) for group in groups)
            fields[name] = Field(field.type, [*values])
        return cls(fields)

    def values(self, name: str) -> Sequence[Any]:
        """Those of the field of this name."""
        return self.fields[name].values

    def part(self, start: int, stop: int) -> "Rows":
        """The rows from `start` to `stop`."""
        return Rows({name: field.part(start, stop) for name, field in self.fields.items()})

    def sizes(self) -> list[int]:
        """About how many bytes each row takes in a request, at the most."""
        sizes = np.full(len(self), _MOST_BYTES_BESIDE * len(self.fields))
        for field in self.fields.values():
            sizes += np.fromiter(map(_KINDS[field.type].size, field.values), np.int64, len(self))
        most: list[int] = sizes.tolist()
        return most

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Row by row, as everybody gives them to pymilvus."""
        columns = [map(_KINDS[each.type].plain, each.values) for each in self.fields.values()]
        for values in zip(*columns, strict=True):
            row = dict(zip(self.fields, values, strict=True))
            yield row | row.pop(DYNAMIC, {})

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())).values)


class RowData(list[dict[str, Any]]):
    """Rows as the `data` of pymilvus's `insert` and `upsert`, which take nothing but lists.

    Clients that went through `take_row_data` read it field by field, others row by row.

    Args:
        rows: The rows.
        collection_name: Where they are written to.
        partition_name: Where in the collection; "" for the default one.
    """

    def __init__(self, rows: Rows, collection_name: str, partition_name: str = "") -> None:
        super().__init__()
        self._rows = rows
        self._place = {"collection_name": collection_name, "partition_name": partition_name}

    def request(self, kind: str) -> Any:
        """The request that writes them, of the class of this name."""
        from pymilvus import DataType
        from pymilvus.grpc_gen import milvus_pb2

        request = getattr(milvus_pb2, kind)(num_rows=len(self), **self._place)
        for name, field in self._rows.fields.items():
            data = request.fields_data.add(
                field_name=name, type=DataType[field.type], is_dynamic=name == DYNAMIC
            )
            _KINDS[field.type].pack(data, field.values)
        return request

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)


_METHODS: Final = MappingProxyType(
    {
        "_prepare_row_insert_request": "InsertRequest",
        "_prepare_row_upsert_request": "UpsertRequest",
    }
)
"""The methods of pymilvus's handlers that make requests of rows, and the classes of these."""


def take_row_data(handler: Any) -> None:
    """Let a client take the requests for `RowData` as they are made here.

    Args:
        handler: What the client, sync or async, sends its requests by.
    """
    for method, kind in _METHODS.items():
        prepare = getattr(handler, method, None)
        if prepare is not None:
            setattr(handler, method, _taking(prepare, kind))


def _taking(prepare: Callable[..., Any], kind: str) -> Callable[..., Any]:
    @wraps(prepare)
    def taking(*args: Any, **more: Any) -> Any:
        for each in (*args, *more.values()):
            if isinstance(each, RowData):
                return each.request(kind)
        return prepare(*args, **more)

    @wraps(prepare)
    async def ataking(*args: Any, **more: Any) -> Any:
        request = taking(*args, **more)
        return await request if isawaitable(request) else request

    return ataking if iscoroutinefunction(prepare) else taking


def to_json(values: Iterable[Any]) -> list[bytes]:
    """Each value as JSON.

    Raises:
        MissingDependencyError: orjson, which comes with pymilvus, is not installed.
    """
    try:
        from orjson import dumps
    except ImportError as error:
        raise missing_dependency("orjson", "milvus") from error
    return [*map(dumps, values)]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is done with the values of one type.

    Attributes:
        pack: Puts them into a request's `FieldData`.
        size: About how many bytes one takes there, at the most.
        plain: One as it stands in a row.
    """

    pack: Callable[[Any, Sequence[Any]], None]
    size: Callable[[Any], int]
    plain: Callable[[Any], Any]


def _scalar(
    slot: str,
    size: Callable[[Any], int] = lambda _number: _MOST_BYTES_BESIDE,
    plain: Callable[[Any], Any] = lambda value: value,
) -> _Kind:
    def pack(data: Any, values: Sequence[Any]) -> None:
        getattr(data.scalars, slot).data.extend(values)

    return _Kind(pack, size, plain)


def _pack_floats(data: Any, vectors: Sequence[Vector]) -> None:
    from google.protobuf.wrappers_pb2 import BytesValue

    floats = np.array(vectors, dtype="<f4")
    data.vectors.dim = floats.shape[1]
    # On the wire the packed numbers of a `FloatArray` are what bytes are in a message of bytes alone.
    # To read them from there is a hundred times as fast as to append one number after the other.
    data.vectors.float_vector.ParseFromString(
        BytesValue(value=floats.tobytes()).SerializeToString()
    )


def _pack_bits(data: Any, vectors: Sequence[NDArray[np.uint8]]) -> None:
    data.vectors.dim = 8 * len(vectors[0])
    data.vectors.binary_vector = b"".join(each.tobytes() for each in vectors)


def _pack_weights(data: Any, vectors: Sequence[SparseVector]) -> None:
    data.vectors.sparse_float_vector.contents.extend(map(_weights, vectors))


def _weights(vector: SparseVector) -> bytes:
    """The pairs of a sparse vector, as https://milvus.io/docs/sparse_vector.md has them."""
    pairs = np.empty(len(vector.indices), dtype=[("index", "<u4"), ("value", "<f4")])
    pairs["index"], pairs["value"] = vector.indices, vector.values
    return pairs.tobytes()


_KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "VARCHAR": _scalar("string_data", lambda text: len(text.encode())),
        "JSON": _scalar("json_data", len, json.loads),
        "BOOL": _scalar("bool_data"),
        "INT8": _scalar("int_data"),
        "INT64": _scalar("long_data"),
        "DOUBLE": _scalar("double_data"),
        "FLOAT_VECTOR": _Kind(_pack_floats, lambda vector: 4 * len(vector), lambda vector: vector),
        "BINARY_VECTOR": _Kind(_pack_bits, len, np.ndarray.tobytes),
        "SPARSE_FLOAT_VECTOR": _Kind(
            _pack_weights, lambda vector: 8 * len(vector.indices), SparseVector.to_dict
        ),
    }
)
