"""Ask a product catalogue by text, by vector and by both, with and without a filter.

Run it from anywhere: `python examples/product_search.py`. It reads `data/product_catalog.md` into a
Milvus Lite file in a temporary directory and leaves nothing behind.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ragbridge import (
    Filter,
    HashingEmbeddingProvider,
    QueryMatch,
    SearchMode,
    TextDocument,
    VectorKnowledgeBase,
    VectorRetriever,
    VectorStore,
    augment_user_query,
    where,
)
from ragbridge.chunkers import FieldExtractor
from ragbridge.stores.milvus import MilvusVectorStore

CATALOG = Path(__file__).parent / "data" / "product_catalog.md"
QUESTION = "What wireless headphones are available under $100?"
UNDER_100 = (where("price") < 100) & (where("category") == "Wireless Headphones")
MODES = (SearchMode.FULL_TEXT, SearchMode.DENSE, SearchMode.HYBRID)

provider = HashingEmbeddingProvider()


def main() -> None:
    with (
        TemporaryDirectory() as directory,
        MilvusVectorStore("catalog", uri=f"{directory}/catalog.db") as store,
    ):
        print(f"{ingest(store)} rows in {store!r}")
        for mode in MODES:
            for filters in (None, UNDER_100):
                matches = ask(store, mode, filters)
                show(f"by {mode}, {'no filter' if filters is None else filters}", matches)
        print(augment_user_query(matches, QUESTION).content)


def ingest(store: VectorStore) -> int:
    """Put the catalogue in; `FieldExtractor` makes `- **Price:** $59` metadata to filter by."""
    catalog = TextDocument(
        id="catalog", content=CATALOG.read_text(), metadata={"mime_type": "text/markdown"}
    )
    return len(VectorKnowledgeBase(store, provider, chunker=FieldExtractor()).ingest(catalog))


def ask(store: VectorStore, mode: SearchMode, filters: Filter | None) -> list[QueryMatch]:
    return VectorRetriever(store, provider, mode=mode).retrieve(QUESTION, 3, filters)


def show(title: str, matches: Sequence[QueryMatch]) -> None:
    print(f"\n{title}")
    for match in matches:
        facts = match.chunk.metadata
        print(f"  {match.similarity_score:6.3f}  {facts.get('header')}  ${facts.get('price', '-')}")


if __name__ == "__main__":
    main()
