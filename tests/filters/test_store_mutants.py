"""The tables bite the stores as well: mistakes in how they evaluate or compile filters are noticed."""

import pytest

from filter_tables import disagreements
from mutants import installed, mutated
from ragbridge.errors import RagbridgeError
from ragbridge.testing import FILTER_TABLES, FilterTable, _filter_tables
from ragbridge.testing._suite.filtering import add_rows
from ragbridge.testing._suite.samples import make_entry

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


# Engines take their time, so each mistake is looked for in the table that is meant to notice it.

TABLES = {
    name: table for name, table in vars(_filter_tables).items() if isinstance(table, FilterTable)
}

EXPRESSIONS = {
    "De Morgan is forgotten": (
        "GROUPS",
        "Clause(all_of(holding), any_of(failing))",
        "Clause(all_of(holding), all_of(failing))",
    ),
    "what may be and what must be change places": (
        "STRINGS",
        "Condition(self.must.negated(), self.may.negated())",
        "Condition(self.may.negated(), self.must.negated())",
    ),
    "not < is >": ("TYPES", '"<": ">="', '"<": ">"'),
    "not >= is <=": ("TYPES", '">=": "<"', '">=": "<="'),
    "not == is ==": ("TYPES", '"==": "!="', '"==": "=="'),
    "an underscore is certain": (
        "STRINGS",
        "any(map(text.__contains__, _WILDCARDS))",
        "False",
    ),
}

LITERALS = {
    "quotes are not escaped": ("STRINGS", """'"': '\\\\"', """, ""),
    "backslashes are not escaped": ("STRINGS", r"""{"\\": "\\\\", """, "{"),
}

FILTERS = {
    "a NOT is dropped": (
        "GROUPS",
        "return condition.negated() if node.negated else condition",
        "return condition",
    ),
    "and means or": (
        "GROUPS",
        "every if isinstance(node, Every) else some",
        "some if isinstance(node, Every) else every",
    ),
    "!= needs the key": ("TYPES", 'f"((not exists {name}) or {there.fails})"', "there.fails"),
    "what exists is missing": (
        "TYPES",
        'Clause(f"(exists {name})", f"(not exists {name})")',
        'Clause(f"(not exists {name})", f"(exists {name})")',
    ),
    "true is 1": (
        "TYPES",
        '_is(key("b", path), operator, value)',
        '_is(key("n", path), operator, int(value))',
    ),
    "booleans in lists are numbers": (
        "TYPES",
        "if not isinstance(v, bool | str)]",
        "if not isinstance(v, str)]",
    ),
    "a bound beyond all numbers is missed": (
        "NUMBERS",
        "near if near < value else nextafter(near, -inf)",
        "near",
    ),
    "a long text is searched to its cut": (
        "LONG",
        'some([found, _has(key("l", path))])',
        "found",
    ),
    "a hash is text": ("LONG", 'every([found, _has(key("l", path)).negated()])', "found"),
    "long texts are ordered by their beginning": (
        "LONG",
        'if operator == "==" or fits_in_full(value):',
        "if True:",
    ),
    "case matters to nobody": (
        "LETTER_CASE",
        "return Condition.exact(test) if not text else Condition(test, FALSE)",
        "return Condition.exact(test)",
    ),
    "numbers are empty": ("TYPES", "            *others,\n", ""),
    "an empty list is not empty": ("TYPES", '_is(array, "==", 0)', "FALSE"),
    "all [] needs nothing": (
        "TYPES",
        'Condition.exact(_has(key("a", path)))',
        "Condition.exact(FALSE.negated())",
    ),
    "long arrays are forgotten": (
        "LONG",
        "found = every(_has(element_key(path, value)) for value in values)\n    return",
        "return Condition.exact(every(_has(element_key(path, v)) for v in values))\n    return",
    ),
}

SHADOWS = {
    "long texts are cut": ("LONG", " + sha256(data).hexdigest()", ""),
    "booleans are numbers": ("TYPES", "bool: _shadow_flag", "bool: _shadow_number"),
    "true in an array is 1": (
        "TYPES",
        'return "b1" if element else "b0"',
        'return "n1" if element else "n0"',
    ),
    "texts in an array are tokens": ("TYPES", 'return "s" + element', "return element"),
    "an underscore is kept in names": (
        "KEYS",
        "frozenset(ascii_letters + digits)",
        "frozenset(ascii_letters + digits + '_')",
    ),
    "what is in objects is left out": (
        "PATHS",
        "    for name, item in value.items():",
        "    for name, item in ():",
    ),
    "arrays have no length": ("TYPES", "= len(value)\n", "= 1\n"),
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


def agrees(store, table):
    """Whether a store answers as a table says; an error is no answer."""
    within = {"document_ids": [table.name]}
    try:
        return all(
            {row.chunk.content for row in store.scan(filters, **within)} == wanted
            and store.count(filters, **within) == len(wanted)
            for filters, wanted in table.cases
        )
    except RagbridgeError:
        return False


def add_tables(store, tables):
    """Put the rows of all tables in, each table a document."""
    store.add(
        [
            make_entry(f"{table.name}: {name}", text=name, document_id=table.name, metadata=data)
            for table in tables
            for name, data in table.rows.items()
        ]
    )


@pytest.fixture(scope="module")
def loaded(backend):
    """A store that holds the rows of all tables."""
    store = backend.new_store(metric="cosine")
    add_tables(store, FILTER_TABLES)
    yield store
    backend.remove(store)


@pytest.mark.stores("milvus-lite")
@pytest.mark.parametrize(
    ("module", "change"),
    [
        *(("literals", change) for change in LITERALS.values()),
        *(("expressions", change) for change in EXPRESSIONS.values()),
        *(("filters", change) for change in FILTERS.values()),
    ],
    ids=[*LITERALS, *EXPRESSIONS, *FILTERS],
)
def test_a_mutant_of_the_expressions_is_caught(loaded, module, change):
    table, *change = change
    with installed(mutated(f"ragbridge.stores.milvus.{module}", *change)):
        assert not agrees(loaded, TABLES[table])


@pytest.mark.stores("milvus")
def test_a_mutant_for_which_only_a_server_is_strict_enough_is_caught(loaded):
    change = ("INT64_MIN < value <= _LARGEST_SAFE", "INT64_MIN <= value <= 2**63")
    with installed(mutated("ragbridge.stores.milvus.filters", *change)):
        assert not agrees(loaded, TABLES["NUMBERS"])


@pytest.mark.stores("milvus-lite")
@pytest.mark.parametrize("change", SHADOWS.values(), ids=SHADOWS)
def test_a_mutant_of_the_shadows_is_caught(make_store, change):
    table, *change = change
    with installed(mutated("ragbridge.stores.milvus.shadows", *change)):
        store = make_store()
        add_tables(store, [TABLES[table]])
        assert not agrees(store, TABLES[table])


@pytest.mark.stores("milvus-lite", "milvus")
def test_expressions_without_a_mistake_pass(loaded):
    text = "return condition.negated() if node.negated"
    with installed(mutated("ragbridge.stores.milvus.filters", text, text)):
        assert [table.name for table in FILTER_TABLES if not agrees(loaded, table)] == []
