"""What filters become: expressions that mean what `matches()` says, whatever they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milvus_lite.search.filter import parse_expr

from filter_tables import disagreements
from lite_filters import LiteFilters
from ragbridge.filters import MetadataFilter, MetadataFilters, matches, where
from ragbridge.stores._requests import Selection
from ragbridge.stores.milvus import shadows
from ragbridge.stores.milvus.capabilities import LITE, engine_of
from ragbridge.stores.milvus.expressions import EVERYTHING, NOTHING
from ragbridge.stores.milvus.filters import compile_selection
from ragbridge.testing._strategies import filters, metadata

OLD_SERVER = engine_of("v2.3.5")
ENGINES = pytest.mark.parametrize("engine", [LITE, OLD_SERVER], ids=["infix", "no infix"])


def expression(condition, engine=OLD_SERVER, **restrictions):
    """The expression for a filter, with soft-deleted rows."""
    return compile_selection(Selection(condition, include_deleted=True, **restrictions), engine)


def exact(condition, engine=OLD_SERVER, **restrictions):
    """The expression for a filter that the engine evaluates alone."""
    found = expression(condition, engine, **restrictions)
    assert found.is_exact
    assert found.may == found.must
    return found.may


@ENGINES
def test_expressions_agree_with_the_tables(engine):
    assert list(disagreements(LiteFilters(engine))) == []


@ENGINES
def test_expressions_agree_with_the_definition(engine):
    choose = LiteFilters(engine)

    @given(st.lists(metadata(), min_size=1, max_size=8), st.lists(filters(), max_size=8))
    def check(stored, asked):
        rows = {str(number): data for number, data in enumerate(stored)}
        for condition in asked:
            wanted = {name for name, data in rows.items() if matches(condition, data)}
            assert choose(condition, rows) == wanted, condition

    check()


# Values beyond what a shadow holds in full: long texts, and arrays of many scalars.

LENGTHS = (507, 508, 509, 511, 512, 513)
LONG_TEXTS = [
    *("x" * length for length in LENGTHS),
    *(f"{'x' * length}\N{GRINNING FACE}{end}" for length in LENGTHS for end in ("a", "b")),
]
LONG_ARRAYS = [list(range(length)) for length in (1, 63, 64, 65, 1000)]


def long_conditions():
    key = where("v")
    for text in LONG_TEXTS:
        yield from (key == text, key != text, key > text, key >= text, key < text, key <= text)
        yield from (key.in_([text, "y"]), key.not_in([text, 1]), key.text_match(text[-20:]))
    for number in (0, 64, 999, 1000):
        yield from (key.contains(number), key.any_of([number, "y"]), key.all_of([0, number]))


@ENGINES
def test_long_values_are_told_apart(engine):
    values = [*LONG_TEXTS, *LONG_ARRAYS, "", "y", 1, None]
    rows = {str(number): {"v": value} for number, value in enumerate(values)}
    choose = LiteFilters(engine)
    for condition in long_conditions():
        for each in (condition, ~condition):
            wanted = {name for name, data in rows.items() if matches(each, data)}
            assert choose(each, rows) == wanted, each


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (where("price") < 100, "n_price < 100"),
        (where("price") <= 99.5, "n_price <= 99.5"),
        (where("price") == 100.0, "n_price == 100"),
        (where("price") != 3, "((not exists n_price) or n_price != 3)"),
        (~(where("price") < 3), "((not exists n_price) or n_price >= 3)"),
        (where("name") == "a", 's_name == "a"'),
        (where("name") > "a", 's_name > "a"'),
        (where("yes") == True, "b_yes == true"),  # noqa: E712
        (where("yes") != False, "((not exists b_yes) or b_yes != false)"),  # noqa: E712
        (where("k").in_([1, 2]), "n_k in [1, 2]"),
        (where("k").in_([1, 2.5, "a", "b"]), '(s_k in ["a", "b"] or n_k == 1 or n_k == 2.5)'),
        (where("k").not_in(["a", "b"]), '((not exists s_k) or (not (s_k in ["a", "b"])))'),
        (where("k").in_([]), NOTHING),
        (where("k").not_in([]), EVERYTHING),
        (MetadataFilters(), EVERYTHING),
        (~MetadataFilters(), NOTHING),
        (
            (where("a") == 1) & ((where("b") == 2) | ~(where("c") == 3)),
            "(n_a == 1 and (n_b == 2 or ((not exists n_c) or n_c != 3)))",
        ),
        (
            where("k").exists(),
            "((exists n_k) or (exists s_k) or (exists b_k) or (exists a_k) or (exists o_k))",
        ),
        (where("file_name") == 1, "n_file_5fname == 1"),
        (where("spec", "ram") >= 16, "n_spec__ram >= 16"),
        (where("a.b") == 1, "n_a_2eb == 1"),
        (where("") == 1, "n_ == 1"),
        (where("é") == 1, "n__c3_a9 == 1"),
        (where('"') == '"', 's__22 == "\\""'),
        (where("k") == 'a"\\\n\r\t', 's_k == "a\\"\\\\\\n\\r\\t"'),
        (where("k") == "\x00'`{}\N{GRINNING FACE}", 's_k == "\x00\'`{}\N{GRINNING FACE}"'),
        (where("n") == 2**53 + 1, "n_n == 9007199254740993"),
        (where("n") > 2.0**70, f"n_n > {2.0**70!r}"),
        (where("n") > 2**70 + 1, f"n_n > {2.0**70!r}"),
        (where("n") == 2**70 + 1, NOTHING),
        (where("n") == 10**400, NOTHING),
        (where("n") < 10**400, "(exists n_n)"),
    ],
)
def test_expression(condition, wanted):
    assert exact(condition) == wanted


@pytest.mark.parametrize("number", [2**63 - 1, 2**63 - 1000, 2**63, 2.0**63, -(2**63)])
def test_numbers_that_engines_would_round_are_looked_at(number):
    for condition in (where("n") == number, where("n") > number, where("n").in_([1, number])):
        assert not expression(condition).is_exact


def test_text_matches_are_left_to_engines_that_have_them():
    plain, wild = where("k").text_match("a b"), where("k").text_match("100%_\\")
    assert expression(plain, LITE).may == '(s_k like "%a b%" or (exists l_k))'
    assert expression(wild, LITE).may == '(s_k like "%100___%" or (exists l_k))'
    assert expression(wild, LITE).must == NOTHING
    assert expression(plain, OLD_SERVER).may == "(exists s_k)"
    assert exact(where("k").text_match("")) == "(exists s_k)"


def test_restrictions():
    assert exact(None) == EVERYTHING
    assert exact(None, ids=()) == exact(None, document_ids=()) == NOTHING
    assert exact(None, ids=("a",)) == 'id == "a"'
    assert exact(None, ids=("a", '"')) == 'id in ["a", "\\""]'
    assert exact(where("k") == 1, ids=("a",), document_ids=("d", "e")) == (
        '(id == "a" and document_id in ["d", "e"] and n_k == 1)'
    )
    assert exact(~MetadataFilters(), ids=("a",)) == NOTHING
    assert compile_selection(Selection(), LITE).may == "deleted == false"


@given(st.text() | st.text("\"\\'%_\n\r\t[](){}$ aé\N{GRINNING FACE}\x00"))
def test_no_text_ends_its_literal(text):
    found = parse_expr(exact(where("k") == text))
    assert found.right.value == shadows.shadow_text(text)
    ids = parse_expr(exact(None, ids=(text or "-", "b")))
    assert [each.value for each in ids.values.elements] == [text or "-", "b"]


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_no_key_is_more_than_a_name(path):
    name = shadows.key("n", tuple(path))
    assert name.isascii()
    assert name.isidentifier()
    assert exact(MetadataFilter(path, "==", 1)) == f"{name} == 1"


def test_keys_of_different_paths_differ():
    paths = [
        *(("a", "b"), ("a__b",), ("a_b",), ("a.b",), ("a", "", "b"), ("a", "_b"), ("a_", "b")),
        *(("",), ("", ""), ("_",), ("__",), ("a_5f",), ("a_",), ("A",), ("a",)),
        *(("é",), ("e\u0301",), ("x" * 300,), ("x" * 301,), ("x" * 300, "y")),
    ]
    names = {shadows.key(kind, path) for kind in "nsbaolx" for path in paths}
    elements = {
        shadows.element_key(path, element)
        for path in paths
        for element in (1, 1.5, True, False, "1", "", "1.5", "b1", "n1", 2**70)
    }
    assert len(names) == 7 * len(paths)
    assert len(elements) == 10 * len(paths)
    assert not names & elements


@pytest.mark.parametrize("operator", ["or", "and"])
def test_thousands_of_operands_make_a_shallow_tree(operator):
    group = MetadataFilters([where(f"k{n}") == n for n in range(10_000)], operator)
    found = exact(group)
    assert depth(found) <= 5
    assert longest_row(found) <= 16
    assert found.count(f" {operator} ") == 9_999


def test_deep_filters_stay_within_what_engines_read():
    condition = where("k") != 0
    for number in range(24):
        condition = (where("a") != number) & (condition | (where("b") != number))
    assert depth(exact(condition)) < 121


def depth(text):
    level = deepest = 0
    for char in text:
        level += {"(": 1, ")": -1}.get(char, 0)
        deepest = max(deepest, level)
    return deepest


def longest_row(text):
    """The most operands side by side."""
    rows, most = [1], 1
    for token in text.replace("(", "( ").replace(")", " )").split():
        if token == "(":
            rows.append(1)
        elif token == ")":
            rows.pop()
        elif token in ("and", "or"):
            rows[-1] += 1
            most = max(most, rows[-1])
    return most
