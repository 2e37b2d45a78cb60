"""The tables bite the stores as well: mistakes in how they evaluate or compile filters are noticed."""

import importlib

import pytest

from filter_tables import disagreements
from lite_filters import LiteFilters
from mutants import installed, mutated
from ragbridge.errors import RagbridgeError
from ragbridge.stores.milvus.capabilities import LITE, engine_of
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

# Conditions on declared keys, each with the type for which the table notices.

ON_COLUMNS = {
    "others in a list are lost": (
        "TYPES",
        str,
        "_is_in(column, told)]), rest",
        "_is_in(column, told)]), ()",
    ),
    "a list of others has none": ("TYPES", str, "return FALSE, rest", "return FALSE, ()"),
    "in lists, 1.5 is 1": (
        "TYPES",
        int,
        "every([_is_equal_to_literals(column), _is_in",
        "every([_is_typed(column), _is_in",
    ),
    "in lists, what fills a column is a value": (
        "TYPES",
        str,
        "every([_is_equal_to_literals(column), _is_in(column, told)])",
        "_is_in(column, told)",
    ),
    "not in is in": ("STRINGS", str, 'found.replace(" in [", " not in [", 1)', "found"),
    "a state not in is in": ("TYPES", str, "{column.state} not in [", "{column.state} in ["),
    "long texts are no texts": ("LONG", str, "column.type in (str, int)", "column.type is int"),
    "1.5 is no number": ("TYPES", int, "column.type in (str, int)", "column.type is str"),
    "1.5 is 1": (
        "TYPES",
        int,
        "return _is(column, State.EXACT) if column.type is int else _is_typed(column)",
        "return _is_typed(column)",
    ),
    "long texts equal nothing": (
        "LONG",
        str,
        "return _is(column, State.EXACT) if column.type is int else _is_typed(column)",
        "return _is(column, State.EXACT)",
    ),
    "null exists": (
        "TYPES",
        str,
        '"{column.state} > 0", f"{column.state} == 0"',
        '"{column.state} >= 0", f"{column.state} < 0"',
    ),
    "only values of the type exist": (
        "TYPES",
        str,
        '"{column.state} > 0", f"{column.state} == 0"',
        '"{column.state} == 1", f"{column.state} != 1"',
    ),
    "null is not empty": ("TYPES", str, "State.MISSING, State.EMPTY", "State.EMPTY"),
    "an empty list is not empty": ("TYPES", str, "State.MISSING, State.EMPTY", "State.MISSING"),
    "a text is never empty": ("TYPES", str, "if column.type is not str:", "if True:"),
    "numbers are empty texts": (
        "TYPES",
        str,
        'every([_is(column, State.EXACT), compare(column.value, "==", "")])',
        'compare(column.value, "==", "")',
    ),
    "a value of another type is nothing": (
        "TYPES",
        str,
        "if literal is None:\n        return None",
        "if literal is None:\n        return Condition.exact(FALSE)",
    ),
    "long texts are ordered by their beginning": (
        "LONG",
        str,
        "and not fits_in_full(value)",
        "and False",
    ),
    "long texts have no order": (
        "LONG",
        str,
        "return Condition(_is_typed(column), FALSE)\n    if operator",
        "return Condition(_is(column, State.EXACT), FALSE)\n    if operator",
    ),
    "what fills a column is a value": (
        "TYPES",
        str,
        "every([_is_equal_to_literals(column), equal])",
        "equal",
    ),
    "what fills a column is ordered": (
        "TYPES",
        str,
        "every([_is_typed(column), compare(column.value, operator, literal)])",
        "compare(column.value, operator, literal)",
    ),
    "1.5 <= 1": ("TYPES", int, 'operator in ("<=", ">")', 'operator == ">"'),
    "not 1.5 > 1": ("TYPES", int, 'operator in ("<=", ">")', 'operator == "<="'),
    "1 > 1": ("TYPES", int, 'State.EXACT if operator == "<=" else State.NEAR', "State.EXACT"),
    "not 1 <= 1": (
        "TYPES",
        int,
        "some([every([_is_typed(column), apart]), equal])",
        "every([_is_typed(column), apart])",
    ),
    "less is less or equal": ("TYPES", int, 'operator.removesuffix("=")', "operator"),
    "no text is in every value": (
        "TYPES",
        str,
        "if not text:\n        return Condition.exact(typed)",
        "if not text:\n        return Condition.exact(FALSE.negated())",
    ),
    "texts are searched for as they are": ("STRINGS", str, "without_nul(text)", "text"),
    "a NUL is certain": ("STRINGS", str, "is_vague |= may_look_like_others(text)", "pass"),
    "a hash is text": (
        "LONG",
        str,
        "found = every([_is(column, State.EXACT), Clause",
        "found = every([_is_typed(column), Clause",
    ),
    "a long text is searched to its cut": (
        "LONG",
        str,
        "some([found, _is(column, State.NEAR)])",
        "found",
    ),
    "case matters to nobody": (
        "LETTER_CASE",
        str,
        "Condition(typed, FALSE) if text else Condition.exact(typed)",
        "Condition.exact(typed)",
    ),
}

NO_INFIX = (
    "TYPES",
    str,
    "if not engine.matches_infix:\n        return Condition(typed, FALSE)",
    "if not engine.matches_infix:\n        return Condition.exact(typed)",
)

FILLED = {
    "null is a value": ("TYPES", str, "OTHER and value is None", "OTHER and False"),
    "an empty list is not empty": ("TYPES", int, 'value in ("", [])', 'value == ""'),
    "an empty text is not empty": ("TYPES", int, 'value in ("", [])', "value == []"),
    "an empty object is empty": ("TYPES", int, 'value in ("", [])', 'value in ("", [], {})'),
    "true is a float": (
        "TYPES",
        float,
        "isinstance(value, int | float) and not isinstance(value, bool)",
        "isinstance(value, int | float)",
    ),
    "integers are no floats": (
        "TYPES",
        float,
        "isinstance(value, int | float) and not isinstance(value, bool)",
        "isinstance(value, float)",
    ),
    "true is an integer": (
        "TYPES",
        int,
        "not isinstance(value, int | float) or isinstance(value, bool)",
        "not isinstance(value, int | float)",
    ),
    "1.0 is no integer": (
        "TYPES",
        int,
        "not isinstance(value, int | float) or isinstance(value, bool)",
        "not isinstance(value, int) or isinstance(value, bool)",
    ),
    "the largest is less": ("NUMBERS", int, "min(INT64_MAX, floor", "min(INT64_MAX - 1, floor"),
    "the smallest is more": ("NUMBERS", int, "max(INT64_MIN, min", "max(INT64_MIN + 1, min"),
    "what is near lies above": ("NUMBERS", int, "floor(value)", "int(value)"),
    "what is near is equal": (
        "TYPES",
        int,
        "State.EXACT if held == value else State.NEAR",
        "State.EXACT",
    ),
    "a long text is its beginning": (
        "LONG",
        str,
        "State.EXACT if held is value else State.NEAR",
        "State.EXACT",
    ),
    "NULs are kept": ("STRINGS", str, "return without_nul(held)", "return held"),
    "long texts are kept": ("LONG", str, "held = shadow_text(value)", "held = value"),
    "1 is true": (
        "TYPES",
        bool,
        "(value, State.EXACT) if isinstance(value, bool)",
        "(bool(value), State.EXACT) if isinstance(value, int)",
    ),
    "true stands for 1.0": (
        "TYPES",
        float,
        "isinstance(value, bool | str) or not -",
        "isinstance(value, str) or not -",
    ),
    "small integers are floats": (
        "NUMBERS",
        float,
        "-_EXACT_FLOATS < value",
        "-_EXACT_FLOATS <= value",
    ),
    "large integers are floats": (
        "NUMBERS",
        float,
        "value < _EXACT_FLOATS",
        "value <= _EXACT_FLOATS",
    ),
    "1 stands for 1.5": ("TYPES", int, "whole = normal_number(value)", "whole = int(value)"),
    "NULs are sought": ("STRINGS", str, "without_nul(shadow_text(value))", "shadow_text(value)"),
    "long texts are sought": (
        "LONG",
        str,
        "without_nul(shadow_text(value))",
        "without_nul(value)",
    ),
    "true stands for 1": (
        "TYPES",
        bool,
        "value if isinstance(value, bool) else None",
        "bool(value) if isinstance(value, int) else None",
    ),
}

KEYS = sorted({key for table in FILTER_TABLES for row in table.rows.values() for key in row})


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


def assert_noticed(table, declared, engine=LITE):
    """Whoever asks Milvus Lite's reader about declared keys gets another answer than a table's."""
    columns = importlib.import_module("ragbridge.stores.milvus.columns")
    select = LiteFilters(engine, [columns.Column(key, declared) for key in KEYS])
    try:
        noticed = next(disagreements(select, [TABLES[table]]), None)
    except AssertionError:  # it counts what it does not find
        return
    assert noticed, "no case of the table noticed"


@pytest.mark.parametrize(
    ("engine", "change"),
    [*((LITE, change) for change in ON_COLUMNS.values()), (engine_of("v2.3.5"), NO_INFIX)],
    ids=[*ON_COLUMNS, "what is not searched is certain"],
)
def test_a_mutant_of_conditions_on_columns_is_caught(engine, change):
    table, declared, *change = change
    with installed(mutated("ragbridge.stores.milvus.column_filters", *change)):
        assert_noticed(table, declared, engine)


@pytest.mark.parametrize("change", FILLED.values(), ids=FILLED)
def test_a_mutant_of_what_columns_hold_is_caught(change):
    table, declared, *change = change
    with installed(mutated("ragbridge.stores.milvus.columns", *change)):
        assert_noticed(table, declared)


@pytest.mark.stores("milvus")
def test_a_mutant_of_columns_for_which_only_a_server_is_strict_enough_is_caught(make_store):
    change = ("INT64_MIN < whole <= INT64_MAX", "INT64_MIN <= whole <= INT64_MAX")
    with installed(mutated("ragbridge.stores.milvus.columns", *change)):
        store = make_store(metadata_fields={"v": int})
        add_tables(store, [TABLES["NUMBERS"]])
        assert not agrees(store, TABLES["NUMBERS"])
