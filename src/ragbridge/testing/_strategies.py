"""Random metadata and random filters that have something to do with one another."""

from hypothesis import strategies as st

from ragbridge.documents import JsonValue
from ragbridge.filters import (
    LIST_OPERATORS,
    ORDERINGS,
    TEXT_OPERATORS,
    UNARY_OPERATORS,
    Condition,
    MetadataFilter,
    MetadataFilters,
    Operator,
    Scalar,
)

__all__ = ["filters", "metadata"]

# Filters and rows draw most keys and values from these, so that they meet; the rest are arbitrary.
_KEYS = ["a", "b", "A", "a b", "a.b", "", "id", "'", '"', "\\", "na\u00efve", "\U0001f44d", "$meta"]
_TEXTS = ["", "a", "A", "ab", "1", "true", "a%", "a_b", "'", '"', "\\", '\\"', "a\nb", "caf\u00e9"]
_NUMBERS = [0, 1, -1, 1.0, 1.5, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 2.0**63, 1e300]

_keys = st.sampled_from(_KEYS) | st.text(max_size=4)
_texts = st.sampled_from(_TEXTS) | st.text(max_size=6)
_finite = st.floats(allow_nan=False, allow_infinity=False)
_int64 = st.integers(-(2**63), 2**63 - 1)
_stored: st.SearchStrategy[Scalar] = (
    st.sampled_from(_NUMBERS) | st.booleans() | _texts | _int64 | _finite
)
_asked_numbers = st.sampled_from([*_NUMBERS, 2**64, -(2**63) - 1]) | st.integers() | _finite
_asked: st.SearchStrategy[Scalar] = _asked_numbers | st.booleans() | _texts


def _containers(inner: st.SearchStrategy[JsonValue]) -> st.SearchStrategy[JsonValue]:
    return st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=2)


_values: st.SearchStrategy[JsonValue] = st.recursive(st.none() | _stored, _containers, max_leaves=4)


def metadata() -> st.SearchStrategy[dict[str, JsonValue]]:
    """Metadata of a few keys, with values of every JSON type."""
    return st.dictionaries(_keys, _values, max_size=4)


def _operands(operator: Operator) -> st.SearchStrategy[object]:
    if operator in UNARY_OPERATORS:
        return st.none()
    if operator in TEXT_OPERATORS:
        return _texts
    if operator in LIST_OPERATORS:
        return st.lists(_asked, max_size=4)
    if operator in ORDERINGS:
        return _asked_numbers | _texts
    return _asked if operator is Operator.CONTAINS else _asked | st.none()


def _conditions() -> st.SearchStrategy[MetadataFilter]:
    paths = _keys | st.tuples(_keys, _keys)
    return st.sampled_from(Operator).flatmap(
        lambda operator: st.builds(MetadataFilter, paths, st.just(operator), _operands(operator))
    )


def _groups(
    inner: st.SearchStrategy[MetadataFilter | MetadataFilters],
) -> st.SearchStrategy[MetadataFilters]:
    children = st.lists(inner, max_size=4)
    return st.builds(MetadataFilters, children, st.sampled_from(Condition))


def filters() -> st.SearchStrategy[MetadataFilter | MetadataFilters]:
    """Conditions of every operator, alone and in nested groups, empty ones included."""
    conditions: st.SearchStrategy[MetadataFilter | MetadataFilters] = _conditions()
    return st.recursive(conditions, _groups, max_leaves=8)
