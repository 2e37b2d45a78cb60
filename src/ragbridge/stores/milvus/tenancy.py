"""Whose rows a store sees: all of its collection's, those of one tenant, or those of one partition.

The rows of all tenants lie in one collection. Each has its tenant's name in a field of its own, to
which every read and delete is restricted, and in front of its id: `acme/42` is the row that the tenant
`acme` calls `42`. So tenants may use equal ids, and no write can meet another tenant's row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ragbridge.errors import InvalidConfigError, InvalidQueryError, VectorStoreError
from ragbridge.stores._requests import Selection
from ragbridge.stores.base import check_id
from ragbridge.stores.milvus.expressions import EVERYTHING, compare
from ragbridge.stores.milvus.layout import ID, MOST_TENANT_BYTES, TENANT
from ragbridge.stores.milvus.names import check_name
from ragbridge.stores.milvus.packing import Field
from ragbridge.stores.milvus.texts import without_nul

_ESCAPES: Final = str.maketrans({"%": "%25", "/": "%2F"})


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Whose rows a store sees.

    Attributes:
        tenant: Only those of this tenant.
        partition: Only those of this partition, which Milvus keeps apart.
    """

    tenant: str | None = None
    partition: str | None = None

    @property
    def restriction(self) -> str:
        """The expression that they pass."""
        return (
            EVERYTHING
            if self.tenant is None
            else compare(TENANT, "==", without_nul(self.tenant)).holds
        )

    def fields(self, ids: Sequence[str]) -> dict[str, Field]:
        """What tells the rows with these ids from those of others."""
        if self.tenant is None:
            return {}
        names = [without_nul(self.tenant)] * len(ids)
        return {ID: Field("VARCHAR", self.stored(ids)), TENANT: Field("VARCHAR", names)}

    @property
    def where_to_read(self) -> dict[str, Any]:
        """The arguments of a call that reads them."""
        return {} if self.partition is None else {"partition_names": [self.partition]}

    @property
    def where_to_write(self) -> dict[str, Any]:
        """The arguments of a call that writes or deletes them."""
        return {} if self.partition is None else {"partition_name": self.partition}

    def stored(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Ids as they are stored."""
        return tuple(ids) if self.tenant is None else tuple(self._prefix + each for each in ids)

    def given(self, stored_id: str) -> str:
        """A stored id as it was given.

        Raises:
            VectorStoreError: it is another tenant's, which the engine should not have returned.
        """
        if self.tenant is None:
            return stored_id
        if not stored_id.startswith(self._prefix):
            raise VectorStoreError("the engine returned a row of another tenant; nothing is given")
        return stored_id.removeprefix(self._prefix)

    def within(self, selection: Selection) -> Selection:
        """A selection by ids as they are stored."""
        if selection.ids is None:
            return selection
        return replace(selection, ids=self.stored(selection.ids))

    @property
    def _prefix(self) -> str:
        return f"{(self.tenant or '').translate(_ESCAPES)}/"


def check_tenancy(tenant: object, partition: object) -> Tenancy:
    """Whose rows a store sees.

    Raises:
        InvalidConfigError: one of them is no name, or both are given.
    """
    if tenant is not None and partition is not None:
        raise InvalidConfigError(
            "tenant and partition do not go together; collections of tenants have partitions of their own"
        )
    if partition is not None:
        check_name(partition, "partition")
    return Tenancy(None if tenant is None else _check_tenant(tenant), partition)  # type: ignore[arg-type]


def _check_tenant(tenant: object) -> str:
    try:
        name = check_id(tenant, "tenant")
    except InvalidQueryError as error:
        raise InvalidConfigError(str(error)) from error
    size = len(without_nul(name).encode())
    if size > MOST_TENANT_BYTES:
        raise InvalidConfigError(
            f"tenant takes {size} bytes, but at most {MOST_TENANT_BYTES} are taken; "
            "use a shorter name"
        )
    return name
