"""Ranking rows by a learner that is fitted to tell the query from them: scikit-learn's.

The query is the one positive example, all rows are the negative ones; the rows that the learner
takes for the query most are the best. Needs the extra `learners`.

Source: Andrej Karpathy, "kNN vs. SVM",
https://github.com/karpathy/randomfun/blob/master/knn_vs_svm.ipynb
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from numpy.typing import NDArray

from ragbridge.embeddings import Vector
from ragbridge.errors import InvalidEmbeddingError, missing_dependency

__all__ = ["LEARNERS", "scores_by_learner"]


def scores_by_learner(
    mode: VectorStoreQueryMode, query: Vector, rows: Sequence[Vector]
) -> list[float]:
    """How much a learner takes each row for the query: higher is better, on a scale of its own.

    Args:
        mode: A key of `LEARNERS`.
        query: The query vector, shape (dimension,).
        rows: The vectors to rank, each of shape (dimension,).

    Raises:
        InvalidEmbeddingError: the query has another dimension than the rows.
        MissingDependencyError: scikit-learn is not installed.
    """
    if not rows:
        return []
    if len(query) != len(rows[0]):
        raise InvalidEmbeddingError(
            f"the query vector has dimension {len(query)}, but the store holds vectors of dimension "
            f"{len(rows[0])}; embed queries with the model that embedded the rows"
        )
    examples = np.vstack([query, *rows]).astype(np.float64)
    labels = np.zeros(len(examples))
    labels[0] = 1
    scores: list[float] = LEARNERS[mode](examples, labels)[1:].tolist()
    return scores


def _svm(examples: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    learner = _sklearn("svm").LinearSVC(
        class_weight="balanced", C=0.1, tol=1e-6, max_iter=10_000, random_state=0
    )
    return learner.fit(examples, labels).decision_function(examples)  # type: ignore[no-any-return]


def _logistic_regression(examples: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    learner = _sklearn("linear_model").LogisticRegression(class_weight="balanced", max_iter=1_000)
    return learner.fit(examples, labels).decision_function(examples)  # type: ignore[no-any-return]


def _linear_regression(examples: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    # Without a penalty, fewer rows than dimensions are all fitted exactly, and none is better.
    learner = _sklearn("linear_model").Ridge(alpha=1.0)
    return learner.fit(examples, labels).predict(examples)  # type: ignore[no-any-return]


def _sklearn(module: str) -> Any:
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise missing_dependency("scikit-learn", "learners") from error


LEARNERS: Final[
    Mapping[VectorStoreQueryMode, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]]
] = MappingProxyType(
    {
        VectorStoreQueryMode.SVM: _svm,
        VectorStoreQueryMode.LOGISTIC_REGRESSION: _logistic_regression,
        VectorStoreQueryMode.LINEAR_REGRESSION: _linear_regression,
    }
)
"""The modes, and what each fits: a linear SVM, a logistic regression, a ridge regression."""
