"""What LangChain's callers may say beside a query, read for the core."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeGuard, TypeVar

import numpy as np
from langchain_core.documents import Document

from ragbridge.embeddings import EmbeddingLike
from ragbridge.errors import InvalidQueryError, shorten
from ragbridge.filters import Filter
from ragbridge.langchain.filters import as_filter
from ragbridge.retrievers import SearchMode
from ragbridge.stores.base import DEFAULT_RANKER, Leg, Ranker, VectorStoreQuery

T = TypeVar("T")

_OF_VECTORS: Final = frozenset({"filter", "expr", "ranker", "leg_top_k", "min_score", "options"})
_OF_TEXTS: Final = _OF_VECTORS | {"search_mode"}
_ELSEWHERE: Final[Mapping[str, str]] = {
    "score_threshold": "it goes with similarity_search_with_relevance_scores, and with "
    "search_type='similarity_score_threshold'",
    "fetch_k": "it goes with max_marginal_relevance_search, and with search_type='mmr'",
    "lambda_mult": "it goes with max_marginal_relevance_search, and with search_type='mmr'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchArguments:
    """The keyword arguments of a search; see `RagbridgeVectorStore`."""

    filters: Filter | None = None
    search_mode: SearchMode | str | None = None
    ranker: Ranker = DEFAULT_RANKER
    leg_top_k: Mapping[Leg, int] | None = None
    min_score: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_text(
        cls, given: Mapping[str, Any], search_mode: SearchMode | str | None, ranker: Ranker
    ) -> Self:
        """The arguments of a search by text, with the store's own mode and ranker.

        Raises:
            InvalidQueryError: an argument is unknown or wrong.
            InvalidFilterError: the filter has no meaning.
        """
        return cls._of(given, _OF_TEXTS, {"search_mode": search_mode, "ranker": ranker})

    @classmethod
    def of_vector(cls, given: Mapping[str, Any], ranker: Ranker) -> Self:
        """The arguments of a search by vector; see `of_text`."""
        return cls._of(given, _OF_VECTORS, {"ranker": ranker})

    @classmethod
    def _of(cls, given: Mapping[str, Any], known: Collection[str], own: Mapping[str, Any]) -> Self:
        refuse_unknown(given, known)
        arguments = {**own, **{name: value for name, value in given.items() if value is not None}}
        options = dict(_check_mapping(arguments.pop("options", {})))
        if "expr" in arguments:
            options["expr"] = arguments.pop("expr")
        filters = as_filter(arguments.pop("filter", None))
        return cls(filters=filters, options=options, **arguments)

    def query(self, embedding: EmbeddingLike, top_k: int) -> VectorStoreQuery:
        """What a store is asked about a vector."""
        return VectorStoreQuery(
            embedding=embedding,
            top_k=top_k,
            filters=self.filters,
            ranker=self.ranker,
            leg_top_k=self.leg_top_k,
            min_score=self.min_score,
            options=self.options,
        )


def refuse_unknown(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse arguments that would be lost.

    Raises:
        InvalidQueryError: one is not known; the message says which there are.
    """
    for name in given:
        if name not in known:
            hint = _ELSEWHERE.get(name, f"there are {', '.join(sorted(known)) or 'none'}")
            raise InvalidQueryError(f"unknown argument {name!r}: {hint}")


def check_k(value: object, name: str = "k") -> int:
    """`value` as a number of documents.

    Raises:
        InvalidQueryError: no positive integer.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InvalidQueryError(f"{name} must be a positive integer, not {shorten(value)}")
    return int(value)


def check_lambda_mult(value: object) -> None:
    """Refuse what is no weight.

    Raises:
        InvalidQueryError: no number from 0 to 1.
    """
    if not _is_share(value):
        raise InvalidQueryError(f"lambda_mult must be a number from 0 to 1, not {shorten(value)}")


def check_score_threshold(value: object) -> float:
    """`value` as a relevance score.

    Raises:
        InvalidQueryError: no number from 0 to 1.
    """
    if not _is_share(value):
        raise InvalidQueryError(
            f"score_threshold must be a number from 0 to 1, not {shorten(value)}"
        )
    return float(value)


def check_same_length(texts: Collection[Any], **others: Collection[Any] | None) -> None:
    """Refuse lists that do not go with the texts one by one.

    Raises:
        InvalidQueryError: one is longer or shorter.
    """
    for name, values in others.items():
        if values is not None and len(values) != len(texts):
            raise InvalidQueryError(
                f"{name} must be one for each text, but there are {len(values)} of them and "
                f"{len(texts)} texts"
            )


def check_list(values: Iterable[T], name: str) -> list[T]:
    """`values` as a list.

    Raises:
        InvalidQueryError: one text or document, or nothing that can be gone through.
    """
    if isinstance(values, str | bytes | Mapping | Document) or not isinstance(values, Iterable):
        raise InvalidQueryError(f"{name} must be a list, not {shorten(values)}")
    return list(values)


def _check_mapping(options: object) -> Mapping[str, Any]:
    if not isinstance(options, Mapping):
        raise InvalidQueryError(f"options must be a mapping, not {shorten(options)}")
    return options


def _is_share(value: object) -> TypeGuard[float]:
    number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    return number and 0 <= value <= 1  # type: ignore[operator] # a number; NaN is neither
