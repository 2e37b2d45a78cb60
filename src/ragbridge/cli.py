"""The `ragbridge` command: put files into a store, ask it, look at it."""

import argparse
import json
import mimetypes
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ragbridge.chat import augment_user_query
from ragbridge.chunkers import AUTO, Chunker, FieldExtractor
from ragbridge.documents import TextDocument
from ragbridge.embeddings import HashingEmbeddingProvider
from ragbridge.errors import InvalidConfigError, InvalidDocumentError, RagbridgeError
from ragbridge.filters import MetadataFilters
from ragbridge.knowledge_base import VectorKnowledgeBase
from ragbridge.retrievers import QueryMatch, SearchMode
from ragbridge.stores import create_vector_store
from ragbridge.stores.base import VectorStore

__all__ = ["main"]

_MEMORY: Final = "memory:"
_TEXT_SUFFIXES: Final = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".txt": "text/plain",
    ".rst": "text/x-rst",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (by default the process's own) and return its exit code.

    0: done. 1: it could not be done; one line on standard error says why. 2: wrong usage.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except RagbridgeError as error:
        print(f"ragbridge: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, say `head`, has gone; nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ragbridge", description="Put documents into a vector store and ask it."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_ingest(commands)
    _add_ask(commands)
    _add_count(commands)
    _add_delete(commands)
    _add_info(commands)
    return parser


def _add_ingest(commands: Any) -> None:
    command = _command(commands, "ingest", _ingest, "read files into a store")
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file or directory")
    _add_extract(command)


def _add_ask(commands: Any) -> None:
    command = _command(commands, "ask", _ask, "find the passages that answer a question")
    command.add_argument("question", metavar="QUESTION")
    command.add_argument(
        "--ingest", nargs="+", type=Path, metavar="PATH", help="read these files first"
    )
    _add_extract(command)
    _add_filter(command)
    command.add_argument("--top-k", type=int, default=5, metavar="N", help="default: %(default)s")
    command.add_argument(
        "--mode",
        choices=[mode.value for mode in SearchMode],
        default=SearchMode.DENSE.value,
        help="how to search, as far as the store can; default: %(default)s",
    )
    command.add_argument(
        "--prompt", action="store_true", help="print the question with its context, for a model"
    )


def _add_count(commands: Any) -> None:
    command = _command(commands, "count", _count, "count the rows of a store")
    _add_filter(command)


def _add_delete(commands: Any) -> None:
    command = _command(commands, "delete", _delete, "remove rows from a store")
    _add_filter(command)
    command.add_argument(
        "--document", nargs="+", metavar="ID", help="rows of these documents, e.g. ingested paths"
    )
    command.add_argument("--all", action="store_true", help="every row")


def _add_info(commands: Any) -> None:
    _command(commands, "info", _info, "show what a store is and holds")


def _command(commands: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    command.set_defaults(run=run)
    command.add_argument(
        "--store",
        metavar="URI",
        required=True,
        help="a path ending in .db (Milvus Lite), http(s)://host:port (Milvus server; token from "
        f"MILVUS_TOKEN), or {_MEMORY} (only with ask --ingest)",
    )
    command.add_argument(
        "--collection", default="ragbridge", metavar="NAME", help="default: %(default)s"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


def _add_extract(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--extract",
        action="store_true",
        help="turn front matter and 'Key: value' lines of Markdown into metadata to filter by",
    )


def _add_filter(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--filter",
        metavar="FILTER",
        help="such as 'price < 100 and category == \"Wireless Headphones\"', or JSON",
    )


def _ingest(arguments: argparse.Namespace) -> None:
    with _open_store(arguments, writes=True) as store:
        report = _ingest_paths(store, arguments.paths, extract=arguments.extract)
    _print(arguments, report, "{rows} rows from {documents} documents".format(**report))


def _ask(arguments: argparse.Namespace) -> None:
    filters = _read_filter(arguments)
    with _open_store(arguments, writes=bool(arguments.ingest)) as store:
        if arguments.ingest:
            _ingest_paths(store, arguments.ingest, extract=arguments.extract)
        base = _knowledge_base(store, mode=SearchMode(arguments.mode))
        matches = base.retrieve(arguments.question, arguments.top_k, filters)
    if arguments.prompt:
        prompt = str(augment_user_query(matches, arguments.question).content)
        _print(arguments, {"prompt": prompt}, prompt)
        return
    data = {"question": arguments.question, "matches": [_match_data(match) for match in matches]}
    _print(arguments, data, "\n\n".join(_match_texts(matches)) or "no matches")


def _count(arguments: argparse.Namespace) -> None:
    filters = _read_filter(arguments)
    with _open_store(arguments) as store:
        count = store.count(filters)
    _print(arguments, {"count": count}, str(count))


def _delete(arguments: argparse.Namespace) -> None:
    filters = _read_filter(arguments)
    if arguments.all == bool(filters is not None or arguments.document):
        raise InvalidConfigError("delete needs either --all or --filter and --document")
    with _open_store(arguments) as store:
        if arguments.all:
            deleted = store.count(include_deleted=True)
            store.clear()
        else:
            deleted = store.delete_by_filter(filters, document_ids=arguments.document)
    _print(arguments, {"deleted": deleted}, f"{deleted} rows deleted")


def _info(arguments: argparse.Namespace) -> None:
    with _open_store(arguments) as store:
        layout = getattr(store, "layout", None)
        data = {
            "store": arguments.store,
            "collection": arguments.collection,
            "rows": store.count(),
            "metric": store.metric.value,
            "capabilities": sorted(store.capabilities),
            "made_by": "ragbridge" if layout is None else layout.tool,
        }
        if layout is not None:
            data["fields"] = layout.described()
    lines = (f"{name + ':':14}{_info_text(value)}" for name, value in data.items())
    _print(arguments, data, "\n".join(lines))


def _info_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} in {place}" for name, place in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _open_store(arguments: argparse.Namespace, *, writes: bool = False) -> VectorStore:
    uri: str = arguments.store
    if uri == _MEMORY:
        if not getattr(arguments, "ingest", None):
            raise InvalidConfigError(
                f"--store {_MEMORY} lives as long as the command: use it with ask --ingest"
            )
        return create_vector_store("memory")
    if not uri.endswith(".db") and not uri.startswith(("http://", "https://")):
        raise InvalidConfigError(
            f"--store must be a path ending in .db, http(s)://host:port or {_MEMORY}, not {uri!r}"
        )
    if uri.endswith(".db") and not writes and not Path(uri).exists():
        raise InvalidConfigError(f"--store {uri} does not exist; ingest makes it")
    layout = None if writes else "detect"  # what is only read may be another tool's
    return create_vector_store(
        "milvus", collection_name=arguments.collection, uri=uri, layout=layout
    )


def _knowledge_base(
    store: VectorStore,
    *,
    mode: SearchMode = SearchMode.DENSE,
    chunker: Chunker | None = AUTO,
) -> VectorKnowledgeBase:
    return VectorKnowledgeBase(store, HashingEmbeddingProvider(), mode=mode, chunker=chunker)


def _ingest_paths(store: VectorStore, paths: Sequence[Path], *, extract: bool) -> dict[str, int]:
    documents = [_read_document(path) for path in _files(paths)]
    chunker = FieldExtractor(AUTO) if extract else AUTO
    rows = _knowledge_base(store, chunker=chunker).ingest(documents)
    return {"documents": len(documents), "rows": len(rows)}


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in _TEXT_SUFFIXES and file.is_file()
            )
        else:
            yield path


def _read_document(path: Path) -> TextDocument:
    """The file as a document; its id is its path, so that ingesting it again replaces it."""
    try:
        content = path.read_bytes().decode()
        status = path.stat()
    except UnicodeDecodeError as error:
        raise InvalidDocumentError(f"{path} is no UTF-8 text: {error}") from error
    except OSError as error:
        raise InvalidDocumentError(f"cannot read {path}: {error.strerror}") from error
    known_type = _TEXT_SUFFIXES.get(path.suffix.lower())
    metadata: dict[str, Any] = {
        "file_name": path.name,
        "mime_type": known_type or mimetypes.guess_type(path)[0] or "text/plain",
        "file_size": status.st_size,
        "modified_at": datetime.fromtimestamp(status.st_mtime, UTC),
    }
    return TextDocument(id=path.resolve().as_posix(), content=content, metadata=metadata)


def _read_filter(arguments: argparse.Namespace) -> MetadataFilters | None:
    text: str | None = arguments.filter
    if text is None:
        return None
    if text.lstrip().startswith("{"):
        return MetadataFilters.from_json(text)
    return MetadataFilters.parse(text)


def _match_data(match: QueryMatch) -> dict[str, Any]:
    return {
        "score": match.similarity_score,
        "id": match.id,
        "document_id": match.chunk.document_id,
        "content": match.chunk.content,
        "metadata": match.chunk.metadata,
    }


def _match_texts(matches: Sequence[QueryMatch]) -> Iterator[str]:
    for rank, match in enumerate(matches, 1):
        metadata = match.chunk.metadata
        title = metadata.get("header") or metadata.get("file_name") or match.id
        text = "\n".join(f"   {line}" for line in str(match.chunk.content).strip().splitlines())
        yield f"{rank}. {title}  (score {match.similarity_score:.3f})\n{text}"


def _print(arguments: argparse.Namespace, data: dict[str, Any], text: str) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2) if arguments.json else text)


if __name__ == "__main__":
    sys.exit(main())
