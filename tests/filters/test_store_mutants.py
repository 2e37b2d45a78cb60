"""The tables bite the stores as well: mistakes in how they evaluate or compile filters are noticed."""

import pytest

from filter_tables import disagreements
from mutants import installed, mutated
from ragbridge.testing._suite.filtering import add_rows

MEMORY = {
    "a NOT is dropped": ("return ~mask if node.negated else mask", "return mask"),
    "and means or": (
        "reduce(np.logical_and, masks, np.ones(size, np.bool_))",
        "reduce(np.logical_or, masks, np.zeros(size, np.bool_))",
    ),
    "or means and": (
        "reduce(np.logical_or, masks, np.zeros(size, np.bool_))",
        "reduce(np.logical_and, masks, np.ones(size, np.bool_))",
    ),
    "an empty or is true": ("masks, np.zeros(size, np.bool_)", "masks, np.ones(size, np.bool_)"),
    "numbers push other values aside": ("mask |= _compare", "mask = _compare"),
    "what is missing exists": ("decided[:MISSING] = True", "decided[:] = True"),
    "numbers do not exist": ("decided[:MISSING] = True", "decided[:-2] = True"),
    "an empty list is not empty": ('_places(column, ("", [])', '_places(column, ("",)'),
    "null is not empty": ("decided[[MISSING, *_places", "decided[[*_places"),
    "true is a number": (" and not isinstance(v, bool)]", "]"),
    "numbers have no order": ("Operator.IN, *ORDERINGS)", "Operator.IN)"),
    "integers are compared as floats": (" if _nearest(number) == number]", "]"),
    "a bound below stands for the number": ("if bound < wanted[0]:", "if False:"),
    "a bound above stands for the number": ("elif bound > wanted[0]:", "elif False:"),
    "huge negative numbers are huge": ("inf if number > 0 else -inf", "inf"),
}

COLUMNS = {
    "true and 1 share a place": (
        "type(value) is str or type(value) is int",
        "isinstance(value, str | int)",
    ),
    "large integers become floats": ("or float(value) == value", "or True"),
    "null is a value": (
        "if value is None:\n            return MISSING",
        "if False:\n            return MISSING",
    ),
}


@pytest.fixture
def select(make_store):
    """Selects rows of a table by a filter, through a store that holds them."""
    stores = {}

    def select(filters, rows):
        if id(rows) not in stores:
            stores[id(rows)] = make_store()
            add_rows(stores[id(rows)], rows)
        return [row.id for row in stores[id(rows)].scan(filters, include_embeddings=False)]

    return select


@pytest.mark.stores("memory")
@pytest.mark.parametrize("change", MEMORY.values(), ids=MEMORY)
def test_a_mutant_of_the_memory_store_is_caught(select, change):
    with installed(mutated("ragbridge.stores.memory.filters", *change)):
        assert next(disagreements(select), None), "no case of the tables noticed"


@pytest.mark.stores("memory")
@pytest.mark.parametrize("change", COLUMNS.values(), ids=COLUMNS)
def test_a_mutant_of_the_columns_is_caught(select, change):
    with installed(mutated("ragbridge.stores.memory.columns", *change)):
        assert next(disagreements(select), None), "no case of the tables noticed"


@pytest.mark.stores("memory")
@pytest.mark.parametrize(
    ("module", "text"), [("filters", "return ~mask if node.negated"), ("columns", "return MISSING")]
)
def test_a_copy_without_a_mistake_passes(select, module, text):
    with installed(mutated(f"ragbridge.stores.memory.{module}", text, text)):
        assert list(disagreements(select)) == []
