"""The file of an in-memory store: a zip of JSON and raw numbers, never of code.

`header.json` says what the store is; then, for every few thousand rows, `N/rows.json` holds what is
no vector, and `N/dense`, `N/binary`, `N/lengths`, `N/indices` and `N/values` hold the vectors,
little-endian.
"""

import json
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import (
    BinaryVector,
    Embedding,
    HybridVector,
    SparseVector,
    dense_part,
    sparse_part,
)
from ragbridge.errors import (
    InvalidConfigError,
    MissingDependencyError,
    RagbridgeError,
    VectorStoreError,
    shorten,
)
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import SimilarityMetric, VectorEntry

_FORMAT: Final = "ragbridge in-memory store"
_VERSION: Final = 1
_CLASSES: Final = {"Chunk": Chunk, "TextChunk": TextChunk}
_DAMAGES: Final = (
    ArithmeticError, AttributeError, BadZipFile, EOFError, LookupError, NotImplementedError, RagbridgeError,
    RecursionError, RuntimeError, TypeError, ValueError, zlib.error,
)  # fmt: skip
"""What reading a file that is damaged, or was made by somebody else, can raise."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a store is, apart from its rows.

    Attributes:
        metric: How dense vectors are compared.
        full_text: How texts are analysed.
        shape: The vectors that it holds, or None while that is not fixed.
        rows: How many rows it has.
    """

    metric: SimilarityMetric
    full_text: FullTextOptions
    shape: VectorShape | None
    rows: int


def write_file(
    path: str | os.PathLike[str], header: Header, parts: Iterable[list[VectorEntry]]
) -> None:
    """Write a store to `path`, so that there is always a complete file or none.

    Raises:
        InvalidConfigError: `path` is no path.
        VectorStoreError: the file cannot be written.
    """
    target = Path(os.path.realpath(check_path(path)))
    unfinished = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    try:
        file = unfinished.open("xb")
        try:
            with file:
                _write(file, header, parts)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except BaseException:
            unfinished.unlink()
            raise
        _sync_directory(target.parent)
    except OSError as error:
        raise VectorStoreError(
            f"cannot write {os.fspath(path)!r}: {error.strerror or error}; "
            "give a path in a directory that exists and can be written"
        ) from error


def check_path(path: object) -> str | os.PathLike[str]:
    """`path` as a path.

    Raises:
        InvalidConfigError: it is none.
    """
    if isinstance(path, str | os.PathLike) and isinstance(os.fspath(path), str):
        return path
    raise InvalidConfigError(f"path must be a string or a Path, not {shorten(path)}")


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":  # where a directory cannot be opened
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(file: IO[bytes], header: Header, parts: Iterable[list[VectorEntry]]) -> None:
    with ZipFile(file, "w") as archive:
        archive.writestr("header.json", json.dumps(_encode_header(header)))
        for number, entries in enumerate(parts):
            archive.writestr(f"{number}/rows.json", json.dumps([*map(_encode_row, entries)]))
            for name, numbers in _encode_vectors(entries, header.shape):
                archive.writestr(f"{number}/{name}", numbers.tobytes())


def _encode_header(header: Header) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "metric": header.metric,
        "full_text": header.full_text.to_dict(),
        "shape": None if header.shape is None else asdict(header.shape),
        "rows": header.rows,
    }


def _encode_row(entry: VectorEntry) -> dict[str, Any]:
    chunk = dict(entry.chunk)
    if isinstance(chunk["content"], bytes):
        chunk["content"] = b64encode(chunk["content"]).decode()
        encoding = "base64"
    else:
        encoding = "json"
    return {
        "id": entry.id,
        "class": type(entry.chunk).__name__,
        "chunk": chunk,
        "content_encoding": encoding,
        "framework_data": entry.framework_data,
        "deleted": entry.deleted,
    }


def _encode_vectors(
    entries: Sequence[VectorEntry], shape: VectorShape | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    embeddings = [entry.embedding for entry in entries]
    if shape and shape.binary:
        yield "binary", np.array([v.packed for v in embeddings if isinstance(v, BinaryVector)])
    elif shape and shape.dimension:
        yield "dense", np.array([dense_part(each) for each in embeddings], "<f4")
    if shape and shape.sparse:
        sparse = [vector for each in embeddings if (vector := sparse_part(each))]
        yield "lengths", np.array([len(vector.indices) for vector in sparse], "<i8")
        yield "indices", np.concatenate([vector.indices for vector in sparse]).astype("<i8")
        yield "values", np.concatenate([vector.values for vector in sparse]).astype("<f4")


def to_bytes(header: Header, parts: Iterable[list[VectorEntry]]) -> bytes:
    """What `write_file` writes."""
    file = BytesIO()
    _write(file, header, parts)
    return file.getvalue()


@contextmanager
def read_file(
    source: str | os.PathLike[str] | bytes,
) -> Iterator[tuple[Header, Iterator[list[VectorEntry]]]]:
    """The header of a store's file, and its rows in parts, to be read inside the `with` block.

    Args:
        source: The file's path, or what is in it.

    Raises:
        InvalidConfigError: `source` is neither.
        VectorStoreError: there is no such file, or it is damaged, or no file of ours.
    """
    in_memory = isinstance(source, bytes)
    name = "what was saved" if in_memory else repr(os.fspath(check_path(source)))
    try:
        with ZipFile(BytesIO(source) if isinstance(source, bytes) else source) as archive:
            header = _decode_header(json.loads(_read(archive, "header.json")), name)
            yield header, _read_parts(archive, header)
    except (MissingDependencyError, VectorStoreError):
        raise
    except OSError as error:
        raise VectorStoreError(
            f"cannot read {name}: {error.strerror or error}; give a file that save() wrote"
        ) from error
    except _DAMAGES as error:
        raise VectorStoreError(
            f"{name} is damaged, or no file that save() wrote; restore it from a copy, or ingest again"
        ) from error


def _read(archive: ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != ZIP_STORED:  # save() compresses nothing, bombs are
        raise ValueError(name)
    return archive.read(name)


def _decode_header(fields: dict[str, Any], name: str) -> Header:
    if fields["format"] != _FORMAT:
        raise ValueError(fields["format"])
    if fields["version"] > _VERSION:
        raise VectorStoreError(
            f"{name} was written by a newer ragbridge (file version {fields['version']}, this one "
            f"reads {_VERSION}); upgrade ragbridge"
        )
    return Header(
        metric=SimilarityMetric(fields["metric"]),
        full_text=FullTextOptions(**fields["full_text"]),
        shape=None if fields["shape"] is None else VectorShape(**fields["shape"]),
        rows=fields["rows"],
    )


def _read_parts(archive: ZipFile, header: Header) -> Iterator[list[VectorEntry]]:
    seen = 0
    for number in count():
        if seen >= header.rows:
            break
        rows = json.loads(_read(archive, f"{number}/rows.json"))
        embeddings = _decode_vectors(archive, number, len(rows), header.shape)
        yield [_decode_row(*each) for each in zip(rows, embeddings, strict=True)]
        seen += len(rows)
    if seen != header.rows:
        raise ValueError(seen)


def _decode_row(row: dict[str, Any], embedding: Embedding | None) -> VectorEntry:
    chunk = row["chunk"]
    if row["content_encoding"] == "base64":
        chunk["content"] = b64decode(chunk["content"], validate=True)
    return VectorEntry(
        id=row["id"],
        embedding=embedding,
        chunk=_CLASSES[row["class"]](**chunk),
        framework_data=row["framework_data"],
        deleted=row["deleted"],
    )


def _decode_vectors(
    archive: ZipFile, number: int, rows: int, shape: VectorShape | None
) -> Sequence[Embedding | None]:
    def numbers(name: str, kind: str) -> NDArray[Any]:
        return np.frombuffer(_read(archive, f"{number}/{name}"), kind)

    if shape and shape.binary:
        return [*map(BinaryVector, numbers("binary", "u1").reshape(rows, -1))]
    dense: list[Any] = [None] * rows
    sparse: list[Any] = [None] * rows
    if shape and shape.dimension:
        dense = list(numbers("dense", "<f4").reshape(rows, shape.dimension))
    if shape and shape.sparse:
        ends = np.cumsum(numbers("lengths", "<i8"))[:-1]
        indices = np.split(numbers("indices", "<i8"), ends)
        values = np.split(numbers("values", "<f4"), ends)
        sparse = [SparseVector(*each) for each in zip(indices, values, strict=True)]
    if shape and shape.dimension and shape.sparse:
        return [HybridVector(*each) for each in zip(dense, sparse, strict=True)]
    return sparse if shape and shape.sparse else dense
