"""One collection: opening and making it, and reads and writes that keep their promises."""

from collections.abc import Callable
from typing import Any, TypeVar

from ragbridge._twins import Work
from ragbridge.errors import InvalidConfigError, VectorStoreError
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import SimilarityMetric
from ragbridge.stores.milvus.capabilities import Engine, engine_of
from ragbridge.stores.milvus.connection import Call, Connection, import_pymilvus
from ragbridge.stores.milvus.errors import CollectionMissingError, CollectionNotLoadedError
from ragbridge.stores.milvus.indexes import METRICS, VectorIndex
from ragbridge.stores.milvus.layout import (
    VECTOR,
    Layout,
    index_params,
    make_schema,
    read_dimension,
    read_layout,
)

T = TypeVar("T")


class Collection:
    """A collection of one store.

    Args:
        connection: The store's.
        name: The collection's.
        metric: What the store was made with.
        index: The index to make, or None for the engine's default.

    Attributes:
        name: The collection's.
        connection: The store's.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        metric: SimilarityMetric,
        index: VectorIndex | None,
    ) -> None:
        self.connection = connection
        self.name = name
        self._metric = metric
        self._index = index
        self._engine: Engine | None = None
        self._layout: Layout | None = None

    def engine(self) -> Work[Engine]:
        """The engine behind the connection."""
        if self._engine is None:
            version = yield from self._ask(Call.to("get_server_version"))
            self._engine = engine_of(str(version))
        return self._engine

    def open(self) -> Work[Layout | None]:
        """The collection's layout, or None where it is not there.

        Raises:
            InvalidConfigError: it was not made by ragbridge, or otherwise than the store was told.
        """
        self.connection.check_open()
        if self._layout is None and (yield from self._ask(self._call("has_collection"))):
            yield from self._make_ready()
        return self._layout

    def make(self, shape: VectorShape) -> Work[Layout]:
        """Make the collection, unless another store did in the meantime; open it."""
        engine = yield from self.engine()
        self._check_index(engine)
        schema = make_schema(import_pymilvus(), shape.dimension or 0, engine)
        try:
            yield from self._do(self._call("create_collection", schema=schema))
        except VectorStoreError:
            if not (yield from self._ask(self._call("has_collection"))):
                raise
        layout = yield from self.open()
        if layout is None:
            raise CollectionMissingError(
                f"the collection {self.name!r} was dropped while it was made"
            )
        return layout

    def read(self, *calls: Call) -> Work[list[Any]]:
        """The answers to some reads, which see every write of this process before them."""
        engine = yield from self.engine()
        ledger = self.connection.ledger(self.name)
        if engine.buffers and (rows := ledger.due()) is not None:
            yield from self._do(self._call("flush"))
            ledger.flushed(rows)
        level, mark = ledger.reading()
        answers = yield from self.connection.step(
            *(Call(c.method, {**c.arguments, "consistency_level": level}) for c in calls)
        )
        ledger.saw(mark)
        return answers

    def write(self, call: Call, rows: int) -> Work[Any]:
        """The answer to a write of so many rows."""
        try:
            return (yield from self._do(call))
        finally:
            self.connection.ledger(self.name).wrote(rows)

    def query(self, filter: str, **arguments: Any) -> Call:
        """A call that reads rows."""
        return self._call("query", filter=filter, **arguments)

    def search(self, filter: str, **arguments: Any) -> Call:
        """A call that searches by vector."""
        return self._call("search", filter=filter, anns_field=VECTOR, **arguments)

    def change(self, method: str, **arguments: Any) -> Call:
        """A call that writes."""
        return self._call(method, **arguments)

    def recovering(self, make: Callable[[], Work[T]]) -> Work[T]:
        """What `make` does, once more if the collection was dropped or released meanwhile."""
        try:
            return (yield from make())
        except CollectionMissingError:
            self._layout = None
        except CollectionNotLoadedError:
            yield from self._do(self._call("load_collection"))
        return (yield from make())

    def _make_ready(self) -> Work[None]:
        description = yield from self._ask(self._call("describe_collection"))
        dimension = read_dimension(self.name, description)
        index = yield from self._find_index()
        if index is None:
            yield from self._make_indexes(dimension)
            index = yield from self._find_index()
        layout = read_layout(self.name, dimension, index or {})
        self._check(layout)
        yield from self._do(self._call("load_collection"))
        self._layout = layout

    def _find_index(self) -> Work[Any]:
        names = yield from self._ask(self._call("list_indexes", field_name=VECTOR))
        if not names:
            return None
        return (yield from self._ask(self._call("describe_index", index_name=names[0])))

    def _make_indexes(self, dimension: int) -> Work[None]:
        engine = yield from self.engine()
        index = self._check_index(engine)
        made = index_params(import_pymilvus(), index, self._metric, dimension, engine)
        for params in made.values():
            try:
                yield from self._do(self._call("create_index", index_params=params))
            except VectorStoreError:  # another store may have made it in the meantime
                if (yield from self._find_index()) is None:
                    raise

    def _check_index(self, engine: Engine) -> VectorIndex:
        if self._index is None:
            return engine.index
        self._index.check_engine(engine.version)
        return self._index

    def _check(self, layout: Layout) -> None:
        if layout.metric is not self._metric:
            raise InvalidConfigError(
                f"the collection {self.name!r} was made with metric={str(layout.metric)!r} "
                f"({METRICS[layout.metric]}), not {str(self._metric)!r}; give that one, or another "
                "collection_name"
            )
        wanted, there = self._index, layout.index
        if wanted is not None and there is not None and wanted.name != there.name:
            raise InvalidConfigError(
                f"the collection {self.name!r} has the index {there.name}, not {wanted.name}; leave "
                "index out, or give another collection_name"
            )

    def _call(self, method: str, **arguments: Any) -> Call:
        return Call(method, {"collection_name": self.name, **arguments})

    def _ask(self, call: Call) -> Work[Any]:
        return (yield from self.connection.step(call))[0]

    def _do(self, call: Call) -> Work[Any]:
        return (yield from self.connection.step(call, exclusive=True))[0]
