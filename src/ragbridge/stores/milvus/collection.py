"""One collection: opening and making it, and reads and writes that keep their promises."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final, TypeVar

from ragbridge._twins import Work
from ragbridge.errors import (
    InvalidConfigError,
    InvalidQueryError,
    UnsupportedQueryError,
    VectorStoreError,
)
from ragbridge.stores._requests import Selection, VectorShape
from ragbridge.stores.base import Capability, Leg, SimilarityMetric
from ragbridge.stores.milvus.capabilities import LITE, Engine, engine_of, full_name
from ragbridge.stores.milvus.connection import Call, Connection, import_pymilvus
from ragbridge.stores.milvus.errors import CollectionMissingError, CollectionNotLoadedError
from ragbridge.stores.milvus.expressions import EVERYTHING, all_of, one_of
from ragbridge.stores.milvus.filters import (
    Expression,
    after,
    compile_selection,
    not_deleted,
    up_to,
)
from ragbridge.stores.milvus.foreign.detection import detect
from ragbridge.stores.milvus.foreign.fields import DYNAMIC, Fields
from ragbridge.stores.milvus.foreign.filters import compile_foreign, only_active
from ragbridge.stores.milvus.foreign.layouts import CollectionLayout
from ragbridge.stores.milvus.foreign.opened import Opened
from ragbridge.stores.milvus.indexes import SparseInvertedIndex, VectorIndex
from ragbridge.stores.milvus.layout import (
    ID,
    VECTOR,
    Layout,
    Plan,
    Schema,
    index_params,
    is_own,
    new_collection,
    read_layout,
    read_schema,
)
from ragbridge.stores.milvus.ledger import Ledger, note_partition, partitions_made
from ragbridge.stores.milvus.options import NO_OPTIONS, QueryOptions
from ragbridge.stores.milvus.packing import RowData, Rows
from ragbridge.stores.milvus.tenancy import Tenancy

T = TypeVar("T")

_ALONE: Final = Tenancy()
_DEFAULT_PARTITION: Final = "_default"
_PARTITIONS_LAST: Final = 1.0
"""Seconds for which other processes are trusted to make no partition; asking takes milliseconds."""


@dataclass(frozen=True, slots=True)
class _Partitions:
    """The partitions that a collection had, how many this process had made then, and when it was."""

    made: int = -1
    looked_at: float = 0.0
    names: tuple[str, ...] = ()

    def may_have_changed(self) -> bool:
        return self.made != partitions_made() or monotonic() - self.looked_at > _PARTITIONS_LAST


class Collection:
    """A collection of one store.

    Args:
        connection: The store's.
        name: The collection's.
        plan: What the store was told of it.
        tenancy: Whose rows the store sees.

    Attributes:
        name: The collection's, or an alias.
        connection: The store's.
        tenancy: Whose rows are seen.
    """

    def __init__(
        self, connection: Connection, name: str, plan: Plan, tenancy: Tenancy = _ALONE
    ) -> None:
        self.connection = connection
        self.name = name
        self.tenancy = tenancy
        self._plan = plan
        self._engine: Engine | None = None
        self._layout: Layout | None = None
        self._capabilities: frozenset[Capability] = frozenset()
        self._real_name = name
        self._ledger: Ledger | None = None
        self._partition_is_there = False
        self._takes_partitions = False
        self._partitions = _Partitions()
        self._plans: tuple[Layout | None, dict[Hashable, Any]] = (None, {})
        self._level = connection.config.consistency_level
        self._restriction = tenancy.restriction
        self._where_to_read = tenancy.where_to_read

    def engine(self) -> Work[Engine]:
        """The engine behind the connection."""
        if self._engine is None:
            version = yield from self._ask(Call.to("get_server_version"))
            self._engine = engine_of(str(version))
        return self._engine

    def ping(self, seconds: float) -> Work[str]:
        """The engine's name and version, if it answers within so many seconds."""
        version = yield from self.connection.probe(seconds)
        return full_name(version)

    def open(self, *, to_write: bool = False) -> Work[Layout | None]:
        """The collection's layout, or None where it is not there.

        Args:
            to_write: It need not have the store's partition yet.

        Raises:
            InvalidConfigError: it was not made by ragbridge, or otherwise than the store was told; or
                the engine lacks something that the store was told, or the database.
            CollectionMissingError: it must be there, and is not.
        """
        self.connection.check_open()
        if self._layout is None:
            self._plan.check_engine((yield from self.engine()))
            if (yield from self._is_there()):
                yield from self._make_ready()
            elif self._plan.opens:
                raise CollectionMissingError(
                    f"there is no collection {self.name!r}; check the name, or add rows to it by "
                    "MilvusVectorStore(...), which makes it"
                )
        if self._layout is None or to_write or (yield from self._has_own_partition()):
            return self._layout
        return None

    def plan(self, shape: VectorShape) -> Work[Schema]:
        """The fields that the collection would be made with."""
        engine = yield from self.engine()
        return self._plan.schema(shape, engine)

    def make(self, schema: Schema) -> Work[Layout]:
        """Make the collection, unless another store did in the meantime; open it."""
        engine = yield from self.engine()
        pymilvus = import_pymilvus()
        # Before anything is made: it refuses indexes that do not fit.
        index_params(pymilvus, self._plan.layout(schema, engine), engine, self._plan.json_indexes)
        new = new_collection(pymilvus, schema, engine)
        try:
            yield from self._ask(self._call("create_collection", **new))
        except VectorStoreError:
            if not (yield from self._ask(self._call("has_collection"))):
                raise
        layout = yield from self.open(to_write=True)
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
        return self._capabilities

    def metric(self) -> Work[SimilarityMetric]:
        """How dense vectors are compared, or would be if it were made."""
        if self._plan.metric is not None:
            return self._plan.metric
        layout = yield from self.open(to_write=True)
        return SimilarityMetric.COSINE if layout is None else layout.metric

    def check_options(self, options: QueryOptions, legs: Sequence[Leg]) -> Work[None]:
        """Refuse options of a query by these legs that do not fit.

        Raises:
            UnsupportedQueryError: the engine or the index lacks something.
            InvalidQueryError: a search parameter is out of its range, or the store keeps to one
                partition already.
        """
        engine = yield from self.engine()
        if options.partitions is not None:
            self._check_partitions(engine)
        if options.search_params:
            if not legs:
                raise UnsupportedQueryError("search_params go with a vector or a text to search by")
            index = self._index_of(legs[0], engine)
            if index is None:
                raise UnsupportedQueryError(
                    f"the collection {self.name!r} has an index of a kind whose search_params are "
                    "unknown"
                )
            index.check_engine(engine.version, options.search_params)
            index.search_params(1, options.search_params)

    def _check_partitions(self, engine: Engine) -> None:
        if self.tenancy.partition is not None:
            raise InvalidQueryError(
                f"the store keeps to the partition {self.tenancy.partition!r}; leave the option "
                "partitions out, or use a store without partition"
            )
        if not engine.partitions or self.tenancy.tenant is not None:
            raise UnsupportedQueryError(
                f"a store on {engine.name} or of a tenant does not know the option partitions"
            )

    def _index_of(self, leg: Leg, engine: Engine) -> VectorIndex | None:
        if self._layout is not None:
            return self._layout.index_of(leg)
        return (self._plan.index or engine.index) if leg is Leg.DENSE else SparseInvertedIndex()

    def narrowed(self, options: QueryOptions) -> "Collection":
        """The open collection as a query with these options sees it."""
        if options is NO_OPTIONS:
            return self
        view = copy(self)
        view._level = options.consistency_level or self._level
        if options.expr is not None:
            view._restriction = all_of([self._restriction, f"({options.expr})"])
        if options.partitions is not None:
            view._where_to_read = {"partition_names": [*options.partitions]}
        return view

    def plans(self, layout: Layout) -> dict[Hashable, Any]:
        """What is remembered of earlier queries, as long as the collection has this layout."""
        known, plans = self._plans
        if known is not layout:
            plans = {}
            self._plans = (layout, plans)
        return plans

    def compiled(self, selection: Selection) -> Work[Expression]:
        """The expression for a selection, once it is open."""
        engine = yield from self.engine()
        layout = yield from self.open()
        return (
            compile_selection(selection, engine)
            if layout is None
            else compile_in(layout, selection, engine)
        )

    @property
    def foreign(self) -> Opened | None:
        """What is another tool's in the open collection."""
        return None if self._layout is None else self._layout.schema.foreign

    def with_ids(self, ids: Sequence[str]) -> str:
        """The expression for the rows with these stored ids."""
        return one_of(ID, ids) if self.foreign is None else self.foreign.with_ids(ids)

    def after(self, expression: str, last_id: str | None) -> str:
        """Those rows of `expression` whose ids come after `last_id`."""
        if self.foreign is None or last_id is None:
            return after(expression, last_id)
        return all_of([expression, self.foreign.compare_id(">", last_id)])

    def up_to(self, expression: str, last_id: str) -> str:
        """Those rows of `expression` whose ids come no later than `last_id`."""
        if self.foreign is None:
            return up_to(expression, last_id)
        return all_of([expression, self.foreign.compare_id("<=", last_id)])

    def read(self, *calls: Call) -> Work[list[Any]]:
        """The answers to some reads.

        They see every write of this process before them, unless a consistency level was given.
        """
        engine = yield from self.engine()
        ledger = self.ledger()
        if engine.buffers:
            yield from self._flush(ledger)
        level, mark = ledger.reading()
        level = self._level or level
        foreign = self.foreign
        asked = calls if foreign is None else [*map(foreign.call, calls)]
        answers = yield from self.connection.step(
            *(Call(c.method, {**c.arguments, "consistency_level": level}) for c in asked)
        )
        if level == "Strong":
            ledger.saw(mark)
        return answers if foreign is None else [*map(foreign.answer, calls, answers)]

    def write(self, call: Call, rows: int) -> Work[Any]:
        """The answer to a write of so many rows."""
        try:
            return (yield from self._ask(call))
        finally:
            self.ledger().wrote(rows)

    def query(self, filter: str, **arguments: Any) -> Call:
        """A call that reads rows."""
        return self._call(
            "query", filter=self._restricted(filter), **arguments, **self._where_to_read
        )

    def search(self, filter: str, *, anns_field: str, **arguments: Any) -> Call:
        """A call that searches by one leg."""
        whole = self._whole(filter)
        return self._call(
            "search",
            filter="" if whole == EVERYTHING else whole,
            anns_field=self._field(anns_field),
            **arguments,
            **self._where_to_read,
        )

    def hybrid_search(
        self, filter: str, requests: Sequence[Mapping[str, Any]], **arguments: Any
    ) -> Call:
        """A call that searches by several legs: what each request is about, the ranker and the rest."""
        request = import_pymilvus().AnnSearchRequest
        expr = self._restricted(filter)
        named = ({**each, "anns_field": self._field(each["anns_field"])} for each in requests)
        reqs = [request(expr=expr, **each) for each in named]
        return self._call("hybrid_search", reqs=reqs, **arguments, **self._where_to_read)

    def upsert(self, rows: Rows, engine: Engine) -> Call:
        """A call that writes rows."""
        where = self.tenancy.where_to_write
        return self._call(engine.write, data=RowData(rows, self.name, **where), **where)

    def put(self, rows: Sequence[Mapping[str, Any]], method: str) -> Call:
        """A call that writes rows as another tool lays them out."""
        return self._call(method, data=[*rows], **self.tenancy.where_to_write)

    def delete(self, filter: str, *, partition: str | None = None) -> Call:
        """A call that removes rows, those of the store or those of another partition."""
        where = {"partition_name": partition} if partition else self.tenancy.where_to_write
        return self._call("delete", filter=self._restricted(filter), **where)

    def make_partition(self) -> Work[None]:
        """Make the partition that is written to, where it is not there."""
        if (yield from self._has_own_partition()):
            return
        try:
            call = self._call("create_partition", partition_name=self.tenancy.partition)
            yield from self._ask(call)
            note_partition()
        except VectorStoreError:  # another store may have made it in the meantime
            if not (yield from self._has_own_partition()):
                raise

    def other_partitions(self) -> Work[list[str]]:
        """The partitions that the open collection has apart from that which is written to."""
        if not self._takes_partitions:
            return []
        if self._partitions.may_have_changed():
            found = _Partitions(partitions_made(), monotonic())
            names = yield from self._ask(self._call("list_partitions"))
            self._partitions = replace(found, names=tuple(names))
        written, names = self.tenancy.partition or _DEFAULT_PARTITION, self._partitions.names
        return [name for name in names if name != written] if written in names else []

    def recovering(self, make: Callable[[], Work[T]]) -> Work[T]:
        """What `make` does, once more if the collection was dropped or released meanwhile."""
        try:
            return (yield from make())
        except CollectionMissingError:
            self._layout = None
            self._partition_is_there = False
            self._partitions = _Partitions()
        except CollectionNotLoadedError:
            yield from self._ask(self._call("load_collection"))
        return (yield from make())

    def _restricted(self, filter: str) -> str:
        whole = self._whole(filter)
        return whole if self.foreign is None else self.foreign.expression(whole)

    def _whole(self, filter: str) -> str:
        return all_of([self._restriction, filter]) if filter else self._restriction

    def _field(self, name: str) -> str:
        return name if self.foreign is None else self.foreign.field_of(name)

    def _is_there(self) -> Work[bool]:
        if (yield from self._ask(self._call("has_collection"))):
            return True
        if self.connection.config.db_name:
            yield from self._ask(Call.to("list_collections"))  # it says if there is no database
        return False

    def _has_own_partition(self) -> Work[bool]:
        name = self.tenancy.partition
        if name is not None and not self._partition_is_there:
            call = self._call("has_partition", partition_name=name)
            self._partition_is_there = bool((yield from self._ask(call)))
        return name is None or self._partition_is_there

    def _make_ready(self) -> Work[None]:
        description = yield from self._ask(self._call("describe_collection"))
        self._real_name, self._ledger = str(description["collection_name"]), None
        engine = yield from self.engine()
        is_by_key = any(field.get("is_partition_key") for field in description["fields"])
        self._takes_partitions = engine.partitions and not is_by_key
        if self._plan.opens is not False and not (self._plan.opens is True and is_own(description)):
            yield from self._open_foreign(description)
            return
        layout = self._plan.layout(read_schema(self.name, description), engine)
        yield from self._make_indexes(layout, engine)
        if layout.index is not None:
            index = yield from self._ask(self._call("describe_index", index_name=VECTOR))
            layout = read_layout(self.name, layout, index)
        self._plan.check(self.name, layout)
        yield from self._ask(self._call("load_collection"))
        self._note(layout)

    def _note(self, layout: Layout) -> None:
        self._layout, self._capabilities = layout, layout.schema.capabilities

    def _open_foreign(self, description: Mapping[str, Any]) -> Work[None]:
        """Open it as another tool made it; nothing in it is changed."""
        fields = Fields(description)
        yield from self._ask(self._call("load_collection"))
        found = self._plan.opens
        if not isinstance(found, CollectionLayout):
            found = detect(self.name, fields, (yield from self._look_at_a_row(fields)))
        opened = Opened(self.name, found, fields)
        schema = Schema(opened.shape, opened.full_text, foreign=opened)
        layout = Layout(schema, self._plan.metric or SimilarityMetric.COSINE, None)
        if found.vector is not None:
            index = yield from self._find_index(found.vector)
            layout = read_layout(self.name, layout, index)
        self._plan.check(self.name, layout)
        self._note(layout)

    def _look_at_a_row(self, fields: Fields) -> Work[Mapping[str, Any] | None]:
        if not fields.is_dynamic:
            return None
        call = self._call(
            "query",
            filter="",
            limit=1,
            output_fields=[DYNAMIC],
            consistency_level="Strong",
            **self._where_to_read,
        )
        rows = yield from self._ask(call)
        return rows[0] if rows else None

    def _find_index(self, field: str) -> Work[Mapping[str, Any]]:
        names = yield from self._ask(self._call("list_indexes"))
        for name in names:
            index = yield from self._ask(self._call("describe_index", index_name=name))
            if index and index.get("field_name") == field:
                return dict(index)
        raise InvalidConfigError(
            f"the collection {self.name!r} has no index of {field!r}, which says how its vectors are "
            "compared; let the tool that made it make one"
        )

    def _make_indexes(self, layout: Layout, engine: Engine) -> Work[None]:
        """Make the indexes that are not there yet."""
        made = index_params(import_pymilvus(), layout, engine, self._plan.json_indexes)
        there = yield from self._ask(self._call("list_indexes"))
        for name in made.keys() - set(there):
            try:
                # Waiting for an index to be built takes pymilvus half a second even without rows.
                call = self._call("create_index", index_params=made[name], sync=False)
                yield from self._ask(call)
            except VectorStoreError:  # another store may have made it in the meantime
                if name not in (yield from self._ask(self._call("list_indexes"))):
                    raise

    def _flush(self, ledger: Ledger) -> Work[None]:
        rows = ledger.due()
        if rows is None:
            return
        try:
            yield from self._ask(self._call("flush"))
        except (
            VectorStoreError
        ):  # on a full disk what is in the buffer can still be read, more slowly
            ledger.not_flushed()
        else:
            ledger.flushed(rows)

    def ledger(self) -> Ledger:
        """What this process wrote to it, and met in it."""
        if self._ledger is None:
            is_alias = self._real_name != self.name
            self._ledger = self.connection.ledger(self._real_name, is_alias=is_alias)
        return self._ledger

    def _call(self, method: str, **arguments: Any) -> Call:
        return Call(method, {"collection_name": self.name, **arguments})

    def _ask(self, call: Call) -> Work[Any]:
        return (yield from self.connection.step(call))[0]


def compile_in(layout: Layout, selection: Selection, engine: Engine) -> Expression:
    """The expression for a selection in a collection of this layout."""
    schema = layout.schema
    if schema.foreign is not None:
        return compile_foreign(selection, engine, schema.foreign)
    return compile_selection(selection, engine, schema.columns_by_key)


def not_deleted_in(layout: Layout, expression: Expression) -> Expression:
    """Those rows of an expression in a collection of this layout that are not soft-deleted."""
    foreign = layout.schema.foreign
    return not_deleted(expression) if foreign is None else only_active(expression, foreign)
