"""One collection: opening and making it, and reads and writes that keep their promises."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ragbridge._twins import Work
from ragbridge.errors import VectorStoreError
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import Capability
from ragbridge.stores.milvus.capabilities import LITE, Engine, engine_of
from ragbridge.stores.milvus.connection import Call, Connection, import_pymilvus
from ragbridge.stores.milvus.errors import CollectionMissingError, CollectionNotLoadedError
from ragbridge.stores.milvus.layout import (
    VECTOR,
    Layout,
    Plan,
    Schema,
    index_params,
    new_collection,
    read_layout,
    read_schema,
)

T = TypeVar("T")


class Collection:
    """A collection of one store.

    Args:
        connection: The store's.
        name: The collection's.
        plan: What the store was told of it.

    Attributes:
        name: The collection's.
        connection: The store's.
    """

    def __init__(self, connection: Connection, name: str, plan: Plan) -> None:
        self.connection = connection
        self.name = name
        self._plan = plan
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

    def plan(self, shape: VectorShape) -> Work[Schema]:
        """The fields that the collection would be made with."""
        engine = yield from self.engine()
        return self._plan.schema(shape, engine)

    def make(self, schema: Schema) -> Work[Layout]:
        """Make the collection, unless another store did in the meantime; open it."""
        engine = yield from self.engine()
        pymilvus = import_pymilvus()
        # Before anything is made: it refuses indexes that do not fit.
        index_params(pymilvus, self._plan.layout(schema, engine), engine)
        new = new_collection(pymilvus, schema, engine)
        try:
            yield from self._do(self._call("create_collection", **new))
        except VectorStoreError:
            if not (yield from self._ask(self._call("has_collection"))):
                raise
        layout = yield from self.open()
        if layout is None:
            raise CollectionMissingError(
                f"the collection {self.name!r} was dropped while it was made"
            )
        return layout

    def capabilities(self) -> Work[frozenset[Capability]]:
        """The legs that it serves, or could serve if it were made."""
        layout = self._layout
        if layout is None and self.connection.config.is_lite:
            return self._plan.capabilities(LITE)
        layout = layout or (yield from self.open())
        if layout is None:
            return self._plan.capabilities((yield from self.engine()))
        return layout.schema.capabilities

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
        """A call that searches by one leg."""
        return self._call("search", filter=filter, **arguments)

    def hybrid_search(
        self, filter: str, requests: Sequence[Mapping[str, Any]], **arguments: Any
    ) -> Call:
        """A call that searches by several legs: what each request is about, the ranker and the rest."""
        request = import_pymilvus().AnnSearchRequest
        reqs = [request(expr=filter, **each) for each in requests]
        return self._call("hybrid_search", reqs=reqs, **arguments)

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
        engine = yield from self.engine()
        layout = self._plan.layout(read_schema(self.name, description), engine)
        yield from self._make_indexes(layout, engine)
        if layout.index is not None:
            index = yield from self._ask(self._call("describe_index", index_name=VECTOR))
            layout = read_layout(self.name, layout, index)
        self._plan.check(self.name, layout)
        yield from self._do(self._call("load_collection"))
        self._layout = layout

    def _make_indexes(self, layout: Layout, engine: Engine) -> Work[None]:
        """Make the indexes that are not there yet."""
        made = index_params(import_pymilvus(), layout, engine)
        there = yield from self._ask(self._call("list_indexes"))
        for name in made.keys() - set(there):
            try:
                yield from self._do(self._call("create_index", index_params=made[name]))
            except VectorStoreError:  # another store may have made it in the meantime
                if name not in (yield from self._ask(self._call("list_indexes"))):
                    raise

    def _call(self, method: str, **arguments: Any) -> Call:
        return Call(method, {"collection_name": self.name, **arguments})

    def _ask(self, call: Call) -> Work[Any]:
        return (yield from self.connection.step(call))[0]

    def _do(self, call: Call) -> Work[Any]:
        return (yield from self.connection.step(call, exclusive=True))[0]
