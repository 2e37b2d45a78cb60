"""The suite bites: stores with one fault each fail it, on the test meant for that fault."""

from itertools import product

import pytest

from ragbridge.testing import ReferenceVectorStore, VectorStoreConformance
from ragbridge.testing._suite.through_async import ThroughAsync
from wrong_stores import WRONG_STORES


def failures(test, make_store):
    """The failures of one test of the suite, over all its parameters, called in both ways."""
    for arguments, through_async in product(parameters(test), (False, True)):
        store = ThroughAsync(make_store()) if through_async else make_store()
        try:
            test(VectorStoreConformance(), store, **arguments)
        except (AssertionError, pytest.fail.Exception) as failure:
            yield failure
        finally:
            if through_async:
                store.end_loop()


def parameters(test):
    """The arguments of a parametrised test."""
    sets = [[{}]]
    for mark in getattr(test, "pytestmark", ()):
        names, values = mark.args
        names = [names] if isinstance(names, str) else names
        sets.append([dict(zip(names, unpacked(each, names), strict=True)) for each in values])
    for combination in product(*sets):
        yield {name: value for part in combination for name, value in part.items()}


def unpacked(value, names):
    if hasattr(value, "marks"):  # a pytest.param
        return value.values
    return value if len(names) > 1 else [value]


@pytest.mark.parametrize(("wrong", "name"), WRONG_STORES.items())
def test_a_wrong_store_is_noticed(wrong, name):
    test = getattr(VectorStoreConformance, name)
    assert list(failures(test, ReferenceVectorStore)) == []
    assert next(failures(test, wrong), None) is not None
