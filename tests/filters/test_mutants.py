"""The tables bite: wrong readings of filters, one mistake each, are all noticed."""

import pytest

from filter_tables import decides_tree, disagreements
from mutants import mutated

# Each is a mistake that someone could make: its name, the right text, the wrong text.

MATCHES = {
    "and means or": ("        return all(results)", "        return any(results)"),
    "or means and": (
        "is Condition.OR:\n        return any(results)",
        "is Condition.OR:\n        return all(results)",
    ),
    "the NOT is dropped": ("return not any(results)", "return any(results)"),
    "not means not all": ("return not any(results)", "return not all(results)"),
    "an empty group is false": (
        "if not filters.filters:\n        return True",
        "if not filters.filters:\n        return False",
    ),
    "an empty group goes by its condition": (
        "if not filters.filters:\n        return True",
        "if not filters.filters:\n        return filters.condition is not Condition.OR",
    ),
    "a path goes on through scalars": (
        "if not isinstance(value, Mapping):\n            return None",
        "if not isinstance(value, Mapping):\n            return value",
    ),
    "a path goes through arrays": (
        "if not isinstance(value, Mapping):\n            return None",
        (
            "if isinstance(value, list) and value:\n            value = value[0]\n"
            "        if not isinstance(value, Mapping):\n            return None"
        ),
    ),
    "a dot in a key makes a path": (
        "return (self.key,) if isinstance(self.key, str)",
        "return tuple(self.key.split('.')) if isinstance(self.key, str)",
    ),
    "true is 1": ("return one is other", "return one == other"),
    "only one side's boolean is looked at": (
        "if isinstance(one, bool) or isinstance(other, bool):",
        "if isinstance(other, bool):",
    ),
    "strings equal what reads the same": (
        "isinstance(one, str) and isinstance(other, str) and one == other",
        "str(one) == str(other)",
    ),
    "strings are compared without case": (
        "isinstance(one, str) and isinstance(other, str) and one == other",
        "isinstance(one, str) and isinstance(other, str) and one.lower() == other.lower()",
    ),
    "numbers are compared as floats": (
        "isinstance(other, int | float) and one == other",
        "isinstance(other, int | float) and float(one) == float(min(other, 2**70))",
    ),
    "integers never equal floats": (
        "isinstance(one, int | float) and isinstance(other, int | float) and one == other",
        "type(one) is type(other) and one == other",
    ),
    "== None means present": (
        "return value is None if wanted",
        "return value is not None if wanted",
    ),
    "== None asks for nothing": (
        "return value is None if wanted is None else _equal(value, wanted)",
        "return _equal(value, wanted)",
    ),
    "!= is ==": (
        "lambda value, wanted: not _equal_or_both_missing(value, wanted)",
        "lambda value, wanted: _equal_or_both_missing(value, wanted)",
    ),
    "!= needs the key": (
        "lambda value, wanted: not _equal_or_both_missing(value, wanted)",
        "lambda value, wanted: value is not None and not _equal(value, wanted)",
    ),
    "> is >=": ("Operator.GT: gt", "Operator.GT: ge"),
    ">= is >": ("Operator.GTE: ge", "Operator.GTE: gt"),
    "< is <=": ("Operator.LT: lt", "Operator.LT: le"),
    "<= is <": ("Operator.LTE: le", "Operator.LTE: lt"),
    "< is >": ("Operator.LT: lt", "Operator.LT: gt"),
    "booleans have an order": (
        "return isinstance(value, int | float) and not isinstance(value, bool)",
        "return isinstance(value, int | float)",
    ),
    "numbers are ordered as floats": (
        "and ORDERINGS[operator](value, wanted)",
        (
            "and ORDERINGS[operator](*((value, wanted) if isinstance(value, str) else "
            "map(float, (value, max(-2**70, min(wanted, 2**70))))))"
        ),
    ),
    "strings have no order": (
        "return isinstance(wanted, str)\n    return _is_number",
        "return False\n    return _is_number",
    ),
    "in needs all": (
        "return any(_equal(value, item) for item in wanted)",
        "return all(_equal(value, item) for item in wanted)",
    ),
    "in compares as Python does": (
        "return any(_equal(value, item) for item in wanted)",
        "return value in list(wanted)",
    ),
    "nin is in": (
        "lambda value, wanted: not _is_one_of(value, wanted)",
        "lambda value, wanted: _is_one_of(value, wanted)",
    ),
    "nin needs the key": (
        "lambda value, wanted: not _is_one_of(value, wanted)",
        "lambda value, wanted: value is not None and not _is_one_of(value, wanted)",
    ),
    "contains takes scalars": (
        "isinstance(value, list) and any(_equal(item, wanted) for item in value)",
        "any(_equal(i, wanted) for i in (value if isinstance(value, list) else [value]))",
    ),
    "contains looks into strings": (
        "isinstance(value, list) and any(_equal(item, wanted) for item in value)",
        "isinstance(value, list | str) and any(_equal(item, wanted) for item in value)",
    ),
    "contains compares as Python does": (
        "any(_equal(item, wanted) for item in value)",
        "wanted in value",
    ),
    "any is all": (
        "Operator.ANY: lambda value, wanted: any(",
        "Operator.ANY: lambda value, wanted: all(",
    ),
    "all is any": (
        "isinstance(value, list) and all(_holds(value, item) for item in wanted)",
        "isinstance(value, list) and any(_holds(value, item) for item in wanted)",
    ),
    "all of nothing takes any value": (
        "isinstance(value, list) and all(_holds(value, item) for item in wanted)",
        "all(_holds(value, item) for item in wanted)",
    ),
    "text is matched in anything": (
        "if not isinstance(value, str):\n        return False\n    if operator",
        "value = value if isinstance(value, str) else json.dumps(value)\n    if operator",
    ),
    "text is matched at the start": ("return text in value\n", "return value.startswith(text)\n"),
    "text is matched without case": (
        "return text in value\n",
        "return text.lower() in value.lower()\n",
    ),
    "only the text is lowered": (
        "return text.lower() in value.lower()",
        "return text.lower() in value",
    ),
    "case is folded": (
        "return text.lower() in value.lower()",
        "return text.casefold() in value.casefold()",
    ),
    "falsy does not exist": (
        "Operator.EXISTS: lambda value, _: value is not None",
        "Operator.EXISTS: lambda value, _: bool(value)",
    ),
    "falsy is empty": (
        'lambda value, _: value is None or value in ("", [])',
        "lambda value, _: not value",
    ),
    "an empty list is not empty": (
        'lambda value, _: value is None or value in ("", [])',
        'lambda value, _: value is None or value == ""',
    ),
    "null is not empty": (
        'lambda value, _: value is None or value in ("", [])',
        'lambda value, _: value in ("", [])',
    ),
}

NORMAL_FORM = {
    "a NOT is not handed down": (
        "inner = negated != (filters.condition is Condition.NOT)",
        "inner = negated",
    ),
    "a second NOT does not undo the first": (
        "inner = negated != (filters.condition is Condition.NOT)",
        "inner = negated or filters.condition is Condition.NOT",
    ),
    "De Morgan is forgotten": (
        "conjunction = negated if filters.condition is Condition.OR else not negated",
        "conjunction = filters.condition is not Condition.OR",
    ),
    "or means and": (
        "conjunction = negated if filters.condition is Condition.OR else not negated",
        "conjunction = not negated",
    ),
    "a true child decides a conjunction": (
        "(FALSE, TRUE) if conjunction else (TRUE, FALSE)",
        "(TRUE, FALSE) if conjunction else (FALSE, TRUE)",
    ),
    "groups of both kinds are merged": (
        "if isinstance(child, kind):",
        "if isinstance(child, Every | Some):",
    ),
    "an empty group is always true": (
        "if not filters.filters:\n        return _constant(not negated)",
        "if not filters.filters:\n        return TRUE",
    ),
    "!= loses its negation": ("        negated = not negated\n", "        pass\n"),
    "contains becomes ==": ("Operator.ANY, (value,)", "Operator.EQ, value"),
    "== None becomes exists": ("Operator.EXISTS, not negated", "Operator.EXISTS, negated"),
    "in [] is true": ("return _constant(negated)", "return _constant(not negated)"),
    "all [] is false": (
        "if operator in (Operator.IN, Operator.ANY) and",
        "if operator in (Operator.IN, Operator.ANY, Operator.ALL) and",
    ),
    "a path loses its end": ("Leaf(condition.path,", "Leaf(condition.path[:1],"),
}

# What may not be made, and the checks that would let it pass.
REFUSALS = {
    "NaN": ("isinstance(value, float) and isfinite(value)", "isinstance(value, float)"),
    "None in a list": ("_check_scalar(item, f", "item if item is None else _check_scalar(item, f"),
    "a list for ==": (
        '    raise InvalidFilterError(\n        f"{name} must be a string, a',
        '    return value\n    raise InvalidFilterError(\n        f"{name} must be a string, a',
    ),
    "a string for in": (
        "isinstance(value, str | bytes | Mapping)",
        "isinstance(value, bytes | Mapping)",
    ),
    "an ordering of booleans": (
        "and isinstance(scalar, bool):",
        "and isinstance(scalar, complex):",
    ),
    "a value for exists": (
        "        if value is not None:\n            raise",
        "        if value is ...:\n            raise",
    ),
    "a lone surrogate": ("        text.encode()\n", "        text.encode(errors='replace')\n"),
    "deep nesting": ("if self._depth > _MAX_DEPTH:", "if self._depth > 10 * _MAX_DEPTH:"),
    "a truth value": (
        '    def __bool__(self) -> Never:\n        raise InvalidFilterError(\n            "a filter',
        '    def __bool__(self) -> bool:\n        return True\n        raise InvalidFilterError(\n            "a filter',
    ),
}


def nest(module):
    nested = module.where("a") == 1
    for _ in range(60):
        nested = ~nested
    return nested


MAKINGS = {
    "NaN": lambda module: module.where("a") == float("nan"),
    "None in a list": lambda module: module.where("a").in_([None]),
    "a list for ==": lambda module: module.where("a") == [1],
    "a string for in": lambda module: module.where("a").in_("abc"),
    "an ordering of booleans": lambda module: module.where("a") > True,
    "a value for exists": lambda module: module.MetadataFilter("a", "exists", 1),
    "a lone surrogate": lambda module: module.where("a") == "\ud800",
    "deep nesting": nest,
    "a truth value": lambda module: bool(module.where("a") == 1),
}


@pytest.mark.parametrize("change", MATCHES.values(), ids=MATCHES)
def test_a_mutant_of_matches_is_caught(change):
    mutant = mutated("ragbridge.filters", *change)

    def select(filters, rows):
        again = mutant.MetadataFilters.from_dict(filters.to_dict())
        return [name for name, row in rows.items() if mutant.matches(again, row)]

    assert next(disagreements(select), None), "no case of the tables noticed"


@pytest.mark.parametrize("change", NORMAL_FORM.values(), ids=NORMAL_FORM)
def test_a_mutant_of_the_normal_form_is_caught(change):
    mutant = mutated("ragbridge._filter_tree", *change)

    def select(filters, rows):
        node = mutant.normalize(filters)
        return [name for name, row in rows.items() if decides_tree(node, row)]

    assert next(disagreements(select), None), "no case of the tables noticed"


@pytest.mark.parametrize("name", REFUSALS)
def test_a_mutant_of_a_check_is_caught(name):
    original = mutated("ragbridge.filters", REFUSALS[name][0], REFUSALS[name][0])
    with pytest.raises(original.InvalidFilterError):
        MAKINGS[name](original)
    MAKINGS[name](mutated("ragbridge.filters", *REFUSALS[name]))


def test_a_module_without_a_mistake_passes():
    whole = mutated("ragbridge.filters", "return not any(results)", "return not any(results)")

    def select(filters, rows):
        again = whole.MetadataFilters.from_dict(filters.to_dict())
        return [name for name, row in rows.items() if whole.matches(again, row)]

    assert list(disagreements(select)) == []


def test_a_mistake_that_finds_no_place_is_reported():
    with pytest.raises(AssertionError, match="not once"):
        mutated("ragbridge.filters", "no such text", "")
