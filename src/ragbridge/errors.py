"""The exceptions that ragbridge raises.

```
RagbridgeError
├── InvalidInputError               bad input: what was given and what to do
│   ├── InvalidDocumentError        a document or chunk, its content or its metadata
│   ├── InvalidEmbeddingError       a vector: NaN, wrong dimension, zero under cosine, bad sparse indices
│   ├── InvalidFilterError          a metadata filter
│   ├── InvalidQueryError           a query or a restriction
│   └── InvalidConfigError          a store, retriever or chunker setting
├── UnsupportedQueryError           this store cannot serve that leg or option
├── UnsupportedFilterError          this filter cannot be expressed there
├── EntryNotFoundError              an id that must exist does not
├── MissingDependencyError          an extra is not installed (also an ImportError)
└── VectorStoreError                the store itself failed
    ├── StoreConnectionError        nobody answers at that address (also a ConnectionError)
    ├── StoreTimeoutError           no answer in time (also a TimeoutError)
    ├── StoreAccessError            the token is wrong, or does not allow it (also a PermissionError)
    ├── StoreLockedError            another process holds the file
    ├── StoreClosedError            the store was closed
    └── PartialWriteError           a bulk write stopped in the middle: which ids are in, which are not
        └── PartialIngestError      an ingest did: which documents are complete, which are not
```

All of them but InvalidDocumentError among those for bad input, and the two for what is not supported,
are ValueErrors too, as callers of the frameworks expect. InvalidDocumentError is none on purpose:
pydantic turns a ValueError raised inside any model into its own ValidationError, and the error's type
would be lost.
"""

from collections.abc import Sequence

__all__ = [
    "EntryNotFoundError",
    "InvalidConfigError",
    "InvalidDocumentError",
    "InvalidEmbeddingError",
    "InvalidFilterError",
    "InvalidInputError",
    "InvalidQueryError",
    "MissingDependencyError",
    "PartialIngestError",
    "PartialWriteError",
    "RagbridgeError",
    "StoreAccessError",
    "StoreClosedError",
    "StoreConnectionError",
    "StoreLockedError",
    "StoreTimeoutError",
    "UnsupportedFilterError",
    "UnsupportedQueryError",
    "VectorStoreError",
]


class RagbridgeError(Exception):
    """Base of every error that ragbridge raises."""


class InvalidInputError(RagbridgeError):
    """An argument is wrong. The message names it, what was given and what to do."""


class InvalidDocumentError(InvalidInputError):
    """A document, a chunk or its metadata cannot be made from what was given."""


class InvalidEmbeddingError(InvalidInputError, ValueError):
    """A vector that no store could hold or compare."""


class InvalidFilterError(InvalidInputError, ValueError):
    """A metadata filter that has no meaning."""


class InvalidQueryError(InvalidInputError, ValueError):
    """A query, a restriction of one, or another argument of a call, that has no meaning."""


class InvalidConfigError(InvalidInputError, ValueError):
    """A setting of a store, a provider, a retriever or a chunker."""


class UnsupportedQueryError(RagbridgeError, ValueError):
    """The store has no such leg or option; the message names the store and the leg."""


class UnsupportedFilterError(RagbridgeError, ValueError):
    """The filter is right but cannot be expressed on the other side."""


class EntryNotFoundError(RagbridgeError, LookupError):
    """One or more ids do not exist in the store; they are in `ids`."""

    def __init__(self, message: str, *, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.ids = list(ids)


class MissingDependencyError(RagbridgeError, ImportError):
    """An optional package is missing; the message holds the pip line that mends it."""


class VectorStoreError(RagbridgeError):
    """The store behind the call failed; the cause is chained."""


class StoreConnectionError(VectorStoreError, ConnectionError):
    """Nobody answers at the store's address."""


class StoreTimeoutError(VectorStoreError, TimeoutError):
    """The store did not answer in time."""


class StoreAccessError(VectorStoreError, PermissionError):
    """The store does not know the token, or does not allow its owner what was asked."""


class StoreLockedError(VectorStoreError):
    """Another process holds the store's file."""


class StoreClosedError(VectorStoreError):
    """The store was closed before the call."""


class PartialWriteError(VectorStoreError):
    """A bulk write stopped in the middle.

    `written` holds the ids that are in the store, `not_written` those that are not. The same call
    may be repeated: adding is an upsert.
    """

    def __init__(
        self, message: str, *, written: Sequence[str] = (), not_written: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.written = list(written)
        self.not_written = list(not_written)


class PartialIngestError(PartialWriteError):
    """An ingest stopped in the middle; the cause is chained.

    `complete` holds the ids of the documents that are in as given, `incomplete` those of the others:
    ingest them again. What was in the store of an incomplete document before is still there.
    """

    def __init__(
        self,
        message: str,
        *,
        written: Sequence[str] = (),
        not_written: Sequence[str] = (),
        complete: Sequence[str] = (),
        incomplete: Sequence[str] = (),
    ) -> None:
        super().__init__(message, written=written, not_written=not_written)
        self.complete = list(complete)
        self.incomplete = list(incomplete)


def missing_dependency(package: str, extra: str) -> MissingDependencyError:
    """The error for an optional `package` that comes with `extra`."""
    return MissingDependencyError(
        f"{package} is not installed; run: pip install 'ragbridge[{extra}]'", name=package
    )


def shorten(value: object, limit: int = 60) -> str:
    """`value` for an error message: its type and a short repr, never a whole document."""
    text = repr(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return f"{type(value).__name__} {text}"
