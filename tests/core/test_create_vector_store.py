"""Stores by name."""

import subprocess
import sys

import pytest

from ragbridge.errors import InvalidConfigError
from ragbridge.stores import KNOWN_STORES, create_vector_store
from ragbridge.stores.base import SimilarityMetric
from ragbridge.stores.memory import InMemoryVectorStore


def test_makes_a_known_store_with_its_options():
    store = create_vector_store("memory", metric=SimilarityMetric.EUCLIDEAN)
    assert isinstance(store, InMemoryVectorStore)
    assert store.metric is SimilarityMetric.EUCLIDEAN


def test_makes_a_store_of_ones_own():
    store = create_vector_store("ragbridge.stores.memory:InMemoryVectorStore")
    assert isinstance(store, InMemoryVectorStore)


@pytest.mark.parametrize(
    "store_type",
    [
        "",
        "mongo",
        "no.such.module:Store",
        "ragbridge.stores.memory:Nothing",
        "json:JSONDecoder",
        ":x",
        3,
    ],
)
def test_refuses_what_is_no_store(store_type):
    with pytest.raises(InvalidConfigError):
        create_vector_store(store_type)


def test_refuses_options_the_store_does_not_take():
    with pytest.raises(InvalidConfigError, match="colour"):
        create_vector_store("memory", colour="red")


def test_the_registry_is_read_only():
    with pytest.raises(TypeError):
        KNOWN_STORES["x"] = "y"


def test_a_name_imports_only_its_own_backend():
    code = (
        "import sys; from ragbridge.stores import create_vector_store;"
        "create_vector_store('memory'); print('pymilvus' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
