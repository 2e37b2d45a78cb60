"""Vector stores: the contract in `base`, one package for each backend, and a registry by name."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

from ragbridge.errors import InvalidConfigError, MissingDependencyError, shorten
from ragbridge.stores.base import VectorStore

__all__ = ["KNOWN_STORES", "create_vector_store", "restore_vector_store"]

KNOWN_STORES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "memory": "ragbridge.stores.memory:InMemoryVectorStore",
        "milvus": "ragbridge.stores.milvus:MilvusVectorStore",
    }
)
"""The short names that `create_vector_store` knows, and the class behind each."""


def create_vector_store(store_type: str, **options: Any) -> VectorStore:
    """A vector store by name; its module is imported only now.

    Args:
        store_type: A key of `KNOWN_STORES`, or `"package.module:Class"` for a store of your own.
        options: The class's own arguments.

    Raises:
        InvalidConfigError: no such store, or the class does not take these options.
        MissingDependencyError: the store's extra is not installed.
    """
    store_class = _find_class(store_type)
    try:
        return store_class(**options)
    except TypeError as error:
        raise InvalidConfigError(f"{store_type!r} does not take these options: {error}") from error


def restore_vector_store(description: Mapping[str, Any]) -> VectorStore:
    """The store that `VectorStore.to_dict` described.

    Args:
        description: The JSON. A token is not in it: it comes from the environment, or is put in as
            `token`.

    Raises:
        InvalidConfigError: no such description, or the store refuses something in it.
        MissingDependencyError: the store's extra is not installed.
    """
    if not isinstance(description, Mapping):
        raise InvalidConfigError(
            f"description must be what to_dict() gave, not {shorten(description)}"
        )
    store_class = _find_class(description.get("store_type"))
    try:
        return store_class.from_dict(description)
    except (LookupError, TypeError, AttributeError) as error:
        raise InvalidConfigError(f"no {store_class.__name__} has such a description") from error


def _find_class(store_type: object) -> type[VectorStore]:
    if not isinstance(store_type, str) or (
        store_type not in KNOWN_STORES and ":" not in store_type
    ):
        raise InvalidConfigError(
            f"store_type must be one of {', '.join(KNOWN_STORES)} or 'package.module:Class', "
            f"not {shorten(store_type)}"
        )
    module_name, _, class_name = KNOWN_STORES.get(store_type, store_type).partition(":")
    try:
        found = getattr(import_module(module_name), class_name)
    except MissingDependencyError:
        raise
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidConfigError(f"cannot find the store {store_type!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, VectorStore)):
        raise InvalidConfigError(f"{store_type!r} is no VectorStore but {shorten(found)}")
    return found
