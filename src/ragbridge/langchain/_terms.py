"""Core conditions in the terms that LangChain's two forms of filters have."""

from ragbridge.errors import UnsupportedFilterError
from ragbridge.filters import Condition, MetadataFilter, MetadataFilters, Operator, where

_MISSING = (Operator.IS_EMPTY, Operator.TEXT_MATCH_INSENSITIVE)


def in_their_terms(condition: MetadataFilter, form: str) -> MetadataFilter | MetadataFilters:
    """`condition` without paths, `exists`, `any` and `all`: by other conditions that mean the same.

    Raises:
        UnsupportedFilterError: it has no such form; `form` is what it is called then.
    """
    key, operator, value = condition.key, condition.operator, condition.value
    if not isinstance(key, str):
        raise UnsupportedFilterError(
            f"{form} have no paths into nested objects, as {condition} has; put the value under a "
            "top-level key"
        )
    if operator in _MISSING or (operator is Operator.ALL and not value):
        raise UnsupportedFilterError(f"{form} have no operator for {condition}")
    if operator is Operator.EXISTS:
        return MetadataFilter(key, Operator.NE, None)
    if isinstance(value, tuple) and operator in _GROUPS:
        contained = [where(key).contains(item) for item in value]
        return MetadataFilters(contained, _GROUPS[operator]) if value else where(key).in_([])
    return condition


_GROUPS = {Operator.ANY: Condition.OR, Operator.ALL: Condition.AND}
