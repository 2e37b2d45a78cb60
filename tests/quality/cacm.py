"""The CACM test collection: texts, real embeddings, queries and relevance judgements."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ir_measures
import numpy as np

from ragbridge.documents import TextChunk
from ragbridge.embeddings import Vector
from ragbridge.stores.base import VectorEntry, VectorMatch

DIRECTORY = Path(__file__).parents[3] / "shared" / "data" / "cacm"
MISSING = f"the CACM collection is not beside the checkout ({DIRECTORY.name})"

_RECORD = re.compile(r"^\.I (\d+)$", re.MULTILINE)
_FIELD = re.compile(r"^\.([A-Z])\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Collection:
    """Rows ready to be added, and the judged queries by number."""

    entries: list[VectorEntry]
    texts: Mapping[str, str]
    vectors: Mapping[str, Vector]


@cache
def load() -> Collection:
    """The collection; title and abstract are the text, as in the published figures."""
    embeddings = np.load(DIRECTORY / "minilm_f16.npz")
    vectors = dict(zip(_ids(embeddings["doc_ids"]), embeddings["documents"], strict=True))
    queries = dict(zip(_ids(embeddings["query_ids"]), embeddings["queries"], strict=True))
    texts = {number: _joined(fields, "W") for number, fields in _records("query.text")}
    entries = [
        VectorEntry(
            id=number,
            embedding=vectors[number].astype(np.float32),
            chunk=TextChunk(content=_joined(fields, "T", "W"), document_id=number),
        )
        for number, fields in _records("cacm.all")
    ]
    return Collection(
        entries,
        {number: texts[number] for number in queries},
        {number: vector.astype(np.float32) for number, vector in queries.items()},
    )


def measure(run: Mapping[str, Iterable[VectorMatch]]) -> dict[str, float]:
    """MAP and nDCG@10 of the matches found for each query number."""
    scored = [
        ir_measures.ScoredDoc(query, str(match.id), match.similarity_score)
        for query, matches in run.items()
        for match in matches
    ]
    wanted = (ir_measures.AP, ir_measures.nDCG @ 10)
    found = ir_measures.calc_aggregate(wanted, _judgements(), scored)
    return {"MAP": found[wanted[0]], "nDCG@10": found[wanted[1]]}


@cache
def _judgements() -> list[ir_measures.Qrel]:
    lines = (DIRECTORY / "cacm.qrels").read_text().splitlines()
    fields = (line.split() for line in lines)
    return [
        ir_measures.Qrel(_plain(query), _plain(doc), int(grade)) for query, _, doc, grade in fields
    ]


def _records(name: str) -> Iterable[tuple[str, dict[str, str]]]:
    text = (DIRECTORY / name).read_text(encoding="latin-1")
    parts = _RECORD.split(text)[1:]
    for number, body in zip(parts[::2], parts[1::2], strict=True):
        fields = _FIELD.split(body)
        yield _plain(number), dict(zip(fields[1::2], fields[2::2], strict=True))


def _joined(fields: Mapping[str, str], *names: str) -> str:
    return "\n".join(fields[name].strip() for name in names if name in fields)


def _ids(values: Iterable[object]) -> list[str]:
    return [_plain(str(value)) for value in values]


def _plain(number: str) -> str:
    return str(int(number))
