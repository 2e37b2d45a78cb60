"""Rows to test with, and how two rows are compared exactly."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isclose
from typing import Any

from ragbridge.documents import TextChunk
from ragbridge.embeddings import Embedding, EmbeddingLike, same_embedding
from ragbridge.stores.base import VectorEntry, VectorMatch, VectorStore

__all__ = [
    "DIMENSION",
    "NASTY_TEXTS",
    "assert_ranked",
    "assert_same_rows",
    "ids_of",
    "make_entry",
    "stored_rows",
]

DIMENSION = 4
"""The dimension of the dense vectors in the suite."""

NASTY_TEXTS = (
    "'",
    '"',
    "''",
    '""',
    "\\",
    '\\"',
    "\\'",
    "a\\",
    '" or id != "',
    "' or id != '",
    '" or "" == "',
    'x" or true or id == "',
    '"] or id in ["keep',
    '"); clear(); ("',
    'id != ""',
    "keep",
    "*",
    "%",
    "_",
    "[]",
    "{}",
    "(",
    "}",
    "$meta",
    "a, b",
    "a\nb",
    "a\r\nor id != ''",
    "a\tb",
    "a\x00b",
    "\x7f",
    "// comment",
    "-- comment",
    "/* comment */",
    "&& ||",
    "{id}",
    "%s",
    "${id}",
    "null",
    "true",
    "0",
    " ",
    "  keep  ",
    "na\u00efve",
    "nai\u0308ve",
    "\u2028",
    "\u202e",
    "\ufeffkeep",
    "\U0001f44d\U0001f3fd",
    "שלום",
)
"""Texts that would change the meaning of an expression that does not take care."""


def make_entry(
    id: str | None,
    vector: EmbeddingLike | None = (1.0, 0.0, 0.0, 0.0),
    *,
    text: str = "some text",
    document_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    framework_data: Mapping[str, Any] | None = None,
    deleted: bool = False,
) -> VectorEntry:
    """A row of plain text with a dense vector."""
    chunk = TextChunk(content=text, document_id=document_id, metadata=dict(metadata or {}))
    return VectorEntry(
        id=id, embedding=vector, chunk=chunk, framework_data=framework_data, deleted=deleted
    )


def ids_of(rows: Iterable[VectorEntry]) -> list[str | None]:
    """The ids of `rows`, in their order."""
    return [row.id for row in rows]


def stored_rows(store: VectorStore) -> list[VectorEntry]:
    """Everything in the store, soft-deleted rows included, by id."""
    return sorted(store.scan(include_deleted=True), key=lambda row: row.id or "")


def assert_same_rows(
    got: Sequence[VectorEntry], wanted: Sequence[VectorEntry], *, embeddings: bool = True
) -> None:
    """Assert that rows are equal to the last detail: 1 is not 1.0, and vectors are bit by bit."""
    assert ids_of(got) == ids_of(wanted), f"got the ids {ids_of(got)}, wanted {ids_of(wanted)}"
    for one, other in zip(got, wanted, strict=True):
        assert _canonical(one) == _canonical(other), f"row {one.id!r} came back changed"
        expected: Embedding | None = other.embedding if embeddings else None
        assert same_embedding(one.embedding, expected), (
            f"row {one.id!r} came back with the embedding {one.embedding}, wanted {expected}"
        )


def _canonical(row: VectorEntry) -> str:
    fields = {
        "id": row.id,
        "class": type(row.chunk).__name__,
        "chunk": row.chunk.model_dump(mode="python"),
        "framework_data": row.framework_data,
        "deleted": row.deleted,
    }
    return json.dumps(fields, sort_keys=True, default=repr)


def assert_ranked(
    got: Sequence[VectorMatch], scores: Mapping[str | None, float], top_k: int = -1
) -> None:
    """Assert that `got` are the `top_k` best of the rows whose right scores are `scores`.

    Scores may differ by 1e-4 relatively or 1e-5 absolutely. Which of equal rows make the cut is free.
    """
    wanted = len(scores) if top_k == -1 else min(top_k, len(scores))
    ids = ids_of(got)
    assert len(ids) == len(set(ids)) == wanted, f"got {ids}, wanted {wanted} of {list(scores)}"
    assert set(ids) <= scores.keys(), f"got {set(ids) - scores.keys()}, which should not be there"
    for match in got:
        assert _close(match.similarity_score, scores[match.id]), (
            f"{match.id!r} has the score {match.similarity_score}, wanted {scores[match.id]}"
        )
    order = [(-match.similarity_score, match.id or "") for match in got]
    assert order == sorted(order), f"not best first with ties by id: {order}"
    left_out = [score for row_id, score in scores.items() if row_id not in ids]
    if got and left_out:
        last, best = got[-1].similarity_score, max(left_out)
        assert last >= best or _close(last, best), f"a row with the score {best} was left out"


def _close(one: float, other: float) -> bool:
    return isclose(one, other, rel_tol=1e-4, abs_tol=1e-5)
