"""What errors carry, and what else they are."""

import pickle

import pytest

from ragbridge import errors
from ragbridge.errors import (
    EntryNotFoundError,
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    InvalidFilterError,
    InvalidQueryError,
    MissingDependencyError,
    PartialWriteError,
    RagbridgeError,
    StoreAccessError,
    StoreConnectionError,
    StoreTimeoutError,
    UnsupportedFilterError,
    UnsupportedQueryError,
    missing_dependency,
    shorten,
)


@pytest.mark.parametrize("name", [n for n in errors.__all__ if n != "RagbridgeError"])
def test_every_error_is_ours(name):
    error = getattr(errors, name)("what and why")
    assert isinstance(error, RagbridgeError)
    assert str(error) == "what and why"
    assert str(pickle.loads(pickle.dumps(error))) == "what and why"


def test_errors_are_also_what_python_calls_them():
    assert issubclass(EntryNotFoundError, LookupError)
    assert issubclass(MissingDependencyError, ImportError)
    assert issubclass(StoreConnectionError, ConnectionError)
    assert issubclass(StoreTimeoutError, TimeoutError)
    assert issubclass(StoreAccessError, PermissionError)
    assert not issubclass(InvalidDocumentError, ValueError), "pydantic would swallow it"


@pytest.mark.parametrize(
    "error",
    [
        InvalidConfigError,
        InvalidEmbeddingError,
        InvalidFilterError,
        InvalidQueryError,
        UnsupportedFilterError,
        UnsupportedQueryError,
    ],
)
def test_bad_arguments_are_value_errors(error):
    assert issubclass(error, ValueError)


def test_unknown_ids_are_carried():
    assert EntryNotFoundError("gone", ids=("a", "b")).ids == ["a", "b"]
    assert EntryNotFoundError("gone").ids == []


def test_a_partial_write_says_what_is_in():
    error = PartialWriteError("stopped", written=["a"], not_written=("b", "c"))
    assert (error.written, error.not_written) == (["a"], ["b", "c"])


def test_carried_fields_survive_pickling():
    write = PartialWriteError("stopped", written=["a"], not_written=["b"])
    again = pickle.loads(pickle.dumps(write))
    assert (again.written, again.not_written) == (["a"], ["b"])
    assert pickle.loads(pickle.dumps(EntryNotFoundError("gone", ids=["a"]))).ids == ["a"]
    assert pickle.loads(pickle.dumps(missing_dependency("pymilvus", "milvus"))).name == "pymilvus"


def test_a_missing_package_comes_with_its_remedy():
    error = missing_dependency("pymilvus", "milvus")
    assert error.name == "pymilvus"
    assert "pip install 'ragbridge[milvus]'" in str(error)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "int 1"),
        (None, "NoneType None"),
        ("a'b", 'str "a\'b"'),
        ([1, 2], "list [1, 2]"),
        ("x" * 60, "str '" + "x" * 58 + "…"),
    ],
)
def test_values_are_shortened(value, text):
    assert shorten(value) == text


def test_a_long_value_is_not_quoted_whole():
    assert len(shorten("secret " * 1000)) < 70
    assert len(shorten(list(range(10**5)), 20)) < 30
