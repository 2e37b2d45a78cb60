"""The Milvus store."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from ragbridge._twins import Work, arun, run
from ragbridge.documents import JsonValue
from ragbridge.errors import InvalidConfigError, shorten
from ragbridge.filters import Filter
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores._requests import (
    Selection,
    check_delete_ids,
    check_get_ids,
    check_queries,
)
from ragbridge.stores.base import (
    Capability,
    SimilarityMetric,
    VectorEntry,
    VectorMatch,
    VectorStore,
    VectorStoreQuery,
    check_batch_size,
)
from ragbridge.stores.milvus.collection import Collection
from ragbridge.stores.milvus.columns import (
    MetadataType,
    check_json_indexes,
    check_metadata_fields,
)
from ragbridge.stores.milvus.config import MilvusConfig, check_timeout
from ragbridge.stores.milvus.connection import Connection
from ragbridge.stores.milvus.descriptions import arguments_of, describe
from ragbridge.stores.milvus.foreign.layouts import CollectionLayout, check_layout
from ragbridge.stores.milvus.indexes import VectorIndex
from ragbridge.stores.milvus.layout import Plan, check_full_text
from ragbridge.stores.milvus.names import check_name
from ragbridge.stores.milvus.reading import RowReader, count, get
from ragbridge.stores.milvus.rows import decode
from ragbridge.stores.milvus.searching import query_many
from ragbridge.stores.milvus.tenancy import check_tenancy
from ragbridge.stores.milvus.writing import add, clear, delete, delete_selected

T = TypeVar("T")


class MilvusVectorStore(VectorStore):
    """Rows in a Milvus collection, which the first `add` makes.

    Serves dense, sparse, full-text (BM25) and hybrid queries as far as the engine does: Milvus Lite
    and servers from 2.5 on serve all of them, 2.4 has no full text, 2.3 only dense vectors. Servers
    have binary vectors too. The first `add` decides which vectors the collection has. May be used from
    several threads, and from several event loops, each with an async client of its own. Connecting is
    left to the first call.

    Args:
        collection_name: 1 to 255 letters, digits and underscores, the first no digit; or an alias.
        uri: A path that ends in `.db` (Milvus Lite), or `http://` or `https://` with a host; see
            `MilvusConfig` for where it comes from if it is not given.
        token: An API key, or `user:password`.
        metric: How dense or binary vectors are compared: by default as the collection says, or by
            cosine if it is not there yet.
        index: The index to make, or its name. By default "FLAT" on Milvus Lite, which is exact, and
            "AUTOINDEX" on servers, which is the server's choice and approximate on many rows; "BIN_FLAT"
            for binary vectors.
        full_text: Whether texts are searched. None: where the engine has BM25. True, or options that
            say how texts are analysed: it must have it. False: they are not, which makes writes
            faster. The options of a collection that is there already are read off it.
        metadata_fields: Types of metadata by key, such as `{"price": float}`: str, int, float or bool.
            Filters on these keys are faster, and mean the same; values need not be of that type. Those
            of a collection that is there already are read off it. Raw expressions find the values in
            the column `m_` and the key, e.g. `m_price`, and in `k_price` whether there is one (1).
        json_indexes: Types by key or path, such as `{("spec", "ram"): int}`, of metadata that raw
            expressions compare, such as `metadata["spec"]["ram"] > 8`: indexed on servers from 2.5 on.
        tenant: Whose rows these are. The store sees, counts and changes this tenant's alone, whose ids
            may be equal to another's. The collection must have been made with a tenant.
        partition: Where rows are written; only those are seen, counted and changed. A row that is
            added moves there, if it was elsewhere. A store without one sees all partitions, and what
            it adds moves to the default one; a partition that another process made is noticed within
            a second. Servers only.
        layout: Of a collection that is there already, and that another tool may have made; see `open`.
        consistency_level: "Strong", "Session", "Bounded" or "Eventually", for reads that need not
            see all that this process wrote, or that must see what others wrote.
        timeout: Seconds for one request.
        config: All of these and more; what is given beside it replaces its settings.

    Raises:
        InvalidConfigError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        collection_name: str = "ragbridge",
        *,
        uri: str | Path | None = None,
        token: str | None = None,
        metric: SimilarityMetric | str | None = None,
        index: VectorIndex | str | None = None,
        full_text: FullTextOptions | bool | None = None,
        metadata_fields: Mapping[str, MetadataType] | None = None,
        json_indexes: Mapping[str | tuple[str, ...], MetadataType] | None = None,
        tenant: str | None = None,
        partition: str | None = None,
        layout: CollectionLayout | Literal["detect"] | None = None,
        consistency_level: str | None = None,
        timeout: float | None = None,
        config: MilvusConfig | None = None,
    ) -> None:
        self.collection_name = check_name(collection_name, "collection_name")
        self.config = _configure(
            config,
            uri=uri,
            token=token,
            metric=metric,
            index=index,
            consistency_level=consistency_level,
            timeout=timeout,
        )
        self._told = {
            "full_text": full_text,
            "metadata_fields": metadata_fields,
            "json_indexes": json_indexes,
            "tenant": tenant,
            "partition": partition,
            "layout": layout,
        }
        self._tenancy = check_tenancy(tenant, partition)
        self._plan = Plan(
            metric=self.config.metric,
            index=self.config.index,
            full_text=check_full_text(full_text),
            columns=check_metadata_fields(metadata_fields),
            json_indexes=check_json_indexes(json_indexes),
            has_tenants=tenant is not None,
            has_partitions=partition is not None,
            opens=check_layout(layout, self._told),
        )
        self._collection = Collection(
            Connection(self.config), self.collection_name, self._plan, self._tenancy
        )

    @classmethod
    def open(
        cls,
        collection_name: str,
        *,
        uri: str | Path | None = None,
        token: str | None = None,
        layout: CollectionLayout | None = None,
        partition: str | None = None,
        consistency_level: str | None = None,
        timeout: float | None = None,
        config: MilvusConfig | None = None,
    ) -> Self:
        """A collection that is there already, whether ragbridge or another tool made it.

        Those of langchain-milvus, llama-index-vector-stores-milvus, Ballerina's ai.milvus and RocketRide
        are recognised. They stay as they are: what is added, the tool that made them can read. Filters
        and scores mean what they do everywhere; to add what has no place in them raises. The first call
        looks at the collection, and raises where it is not there.

        Args:
            collection_name: As for the class, and so are the others.
            uri: Where it lies.
            token: An API key, or `user:password`.
            layout: Where what lies in it; None to find out.
            partition: Where rows are written and read.
            consistency_level: For reads.
            timeout: Seconds for one request.
            config: All of these and more.

        Raises:
            InvalidConfigError: an argument is wrong; the message names it.
        """
        return cls(
            collection_name,
            uri=uri,
            token=token,
            layout="detect" if layout is None else layout,
            partition=partition,
            consistency_level=consistency_level,
            timeout=timeout,
            config=config,
        )

    @property
    def layout(self) -> CollectionLayout | None:
        """Where what lies in a collection of another tool; None: it is ragbridge's, or not there.

        The engine is asked at the first access, unless a call has done so before.

        Raises:
            VectorStoreError: the engine cannot be asked.
        """
        self._run(self._collection.open)
        foreign = self._collection.foreign
        return None if foreign is None else foreign.layout

    @property
    def metric(self) -> SimilarityMetric:  # type: ignore[override] # it is only read
        """How dense vectors are compared: as the store was told, or as the collection says.

        If it was not told, the engine is asked at the first access, unless a call has done so before.

        Raises:
            VectorStoreError: the engine cannot be asked.
        """
        return self.config.metric or self._run(self._collection.metric)

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override] # it is only read
        """The legs that the collection serves, or could serve while it is not there yet.

        A server is asked at the first access, unless a call has done so before.

        Raises:
            VectorStoreError: the server cannot be asked.
        """
        return self._run(self._collection.capabilities)

    @property
    def client(self) -> Any:
        """Pymilvus's `MilvusClient`, connected, for all that the engine can do beyond this class.

        It is closed with the store. What is written through it, the reads of stores may not see at
        once; see `consistency_level`.

        Raises:
            VectorStoreError: nobody answers.
        """
        return self._collection.connection.client()

    async def aclient(self) -> Any:
        """Pymilvus's `AsyncMilvusClient` of the running event loop; see `client`."""
        return await self._collection.connection.aclient()

    def add(self, entries: Sequence[VectorEntry]) -> list[str]:
        """See `VectorStore.add`; sent in requests of `MilvusConfig.batch_size` rows, to servers two at once.

        Raises:
            InvalidDocumentError: a row is larger than the engine takes. Nothing is written then.
        """
        return self._run(self._adding(entries))

    async def aadd(self, entries: Sequence[VectorEntry]) -> list[str]:
        """Async twin of `add`."""
        return await self._arun(self._adding(entries))

    def query(self, query: VectorStoreQuery) -> list[VectorMatch]:
        """See `VectorStore.query`."""
        return self.query_many([query])[0]

    async def aquery(self, query: VectorStoreQuery) -> list[VectorMatch]:
        """Async twin of `query`."""
        return (await self.aquery_many([query]))[0]

    def query_many(self, queries: Sequence[VectorStoreQuery]) -> list[list[VectorMatch]]:
        """See `VectorStore.query_many`; queries that differ in their vectors only are one request."""
        return self._run(self._querying(queries))

    async def aquery_many(self, queries: Sequence[VectorStoreQuery]) -> list[list[VectorMatch]]:
        """Async twin of `query_many`."""
        return await self._arun(self._querying(queries))

    def get(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        """See `VectorStore.get`."""
        return self._run(self._getting(ids, include_deleted))

    async def aget(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        """Async twin of `get`."""
        return await self._arun(self._getting(ids, include_deleted))

    def scan(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        batch_size: int = 1000,
        include_embeddings: bool = True,
        include_deleted: bool = False,
    ) -> Iterator[VectorEntry]:
        """See `VectorStore.scan`; from Milvus Lite it reads larger batches than asked."""
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        rows = self._reader(selection, batch_size, include_embeddings, in_large_pages=True)
        return self._iterate(rows)

    async def ascan(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        batch_size: int = 1000,
        include_embeddings: bool = True,
        include_deleted: bool = False,
    ) -> AsyncIterator[VectorEntry]:
        """Async twin of `scan`."""
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        rows = self._reader(selection, batch_size, include_embeddings, in_large_pages=False)
        while page := await self._arun(rows.next):
            for row in page:
                yield VectorEntry(**decode(row, self._tenancy))

    def delete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        """See `VectorStore.delete`."""
        self._run(self._deleting(ids, missing_ok))

    async def adelete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        """Async twin of `delete`."""
        await self._arun(self._deleting(ids, missing_ok))

    def delete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        """See `VectorStore.delete_by_filter`."""
        selection = Selection.for_delete(filters, ids, document_ids)
        return self._run(partial(delete_selected, self._collection, selection))

    async def adelete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        """Async twin of `delete_by_filter`."""
        selection = Selection.for_delete(filters, ids, document_ids)
        return await self._arun(partial(delete_selected, self._collection, selection))

    def count(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """See `VectorStore.count`."""
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        return self._run(partial(count, self._collection, selection))

    async def acount(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """Async twin of `count`."""
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        return await self._arun(partial(count, self._collection, selection))

    def clear(self) -> None:
        """See `VectorStore.clear`."""
        self._run(partial(clear, self._collection))

    async def aclear(self) -> None:
        """Async twin of `clear`."""
        await self._arun(partial(clear, self._collection))

    def ping(self, *, timeout: float = 5.0) -> str:
        """The engine's name and version, such as "Milvus 2.3.5": it was asked, and has answered.

        Args:
            timeout: Seconds to wait for the answer. Opening a Milvus Lite file is not cut short.

        Raises:
            StoreConnectionError: nobody answers there.
            StoreTimeoutError: nobody answers in time.
            StoreAccessError: the token is wrong, or missing.
            StoreLockedError: another process has the Milvus Lite file open.
        """
        check_timeout(timeout)
        return run(self._collection.ping(timeout))

    async def aping(self, *, timeout: float = 5.0) -> str:  # noqa: ASYNC109 - as `ping` has it
        """Async twin of `ping`."""
        check_timeout(timeout)
        return await arun(self._collection.ping(timeout))

    def close(self) -> None:
        """See `VectorStore.close`; the last store of a Milvus Lite file releases it."""
        self._collection.connection.close()

    async def aclose(self) -> None:
        """Async twin of `close`."""
        await self._collection.connection.aclose()

    def to_dict(self) -> dict[str, JsonValue]:
        """See `VectorStore.to_dict`; the token is not in it."""
        described = describe(self.collection_name, self.config, self._told)
        return {"store_type": "milvus", **described}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """See `VectorStore.from_dict`; a token comes from the environment, as with pickles.

        Raises:
            InvalidConfigError: the description is wrong, or there is no token.
        """
        return cls(**arguments_of(description))

    def __repr__(self) -> str:
        told = {
            "metric": self.config.metric and str(self.config.metric),
            "tenant": self._tenancy.tenant,
            "partition": self._tenancy.partition,
        }
        given = "".join(f", {name}={value!r}" for name, value in told.items() if value is not None)
        return f"MilvusVectorStore({self.collection_name!r}, uri={self.config.uri!r}{given})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.collection_name, self.config, self._told)

    def _run(self, make: Callable[[], Work[T]]) -> T:
        return run(self._collection.recovering(make))

    async def _arun(self, make: Callable[[], Work[T]]) -> T:
        return await arun(self._collection.recovering(make))

    def _adding(self, entries: Sequence[VectorEntry]) -> Callable[[], Work[list[str]]]:
        # What can be read only once must last for a second try.
        given = list(entries) if isinstance(entries, Iterator) else entries
        return partial(add, self._collection, given)

    def _querying(
        self, queries: Sequence[VectorStoreQuery]
    ) -> Callable[[], Work[list[list[VectorMatch]]]]:
        return partial(query_many, self._collection, check_queries(queries))

    def _getting(
        self, ids: Sequence[str], include_deleted: bool
    ) -> Callable[[], Work[list[VectorEntry]]]:
        return partial(get, self._collection, check_get_ids(ids), include_deleted=include_deleted)

    def _deleting(self, ids: str | Sequence[str], missing_ok: bool) -> Callable[[], Work[None]]:
        return partial(delete, self._collection, check_delete_ids(ids), missing_ok=missing_ok)

    def _reader(
        self,
        selection: Selection,
        batch_size: int,
        include_embeddings: bool,
        *,
        in_large_pages: bool,
    ) -> RowReader:
        return RowReader(
            self._collection,
            selection,
            check_batch_size(batch_size),
            in_large_pages=in_large_pages,
            with_vectors=include_embeddings,
        )

    def _iterate(self, rows: RowReader) -> Iterator[VectorEntry]:
        while page := self._run(rows.next):
            for row in page:
                yield VectorEntry(**decode(row, self._tenancy))


def _configure(config: MilvusConfig | None, **given: Any) -> MilvusConfig:
    if config is None:
        return MilvusConfig.from_env(**given)
    if not isinstance(config, MilvusConfig):
        raise InvalidConfigError(f"config must be a MilvusConfig, not {shorten(config)}")
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def _restore(
    store: type[MilvusVectorStore],
    collection_name: str,
    config: MilvusConfig,
    told: Mapping[str, Any],
) -> MilvusVectorStore:
    return store(collection_name, config=config, **told)
