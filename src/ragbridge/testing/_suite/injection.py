"""Input never changes the meaning of a call, whatever it holds."""

from collections.abc import Callable

from ragbridge.filters import Filter, where
from ragbridge.stores.base import VectorEntry, VectorStore, VectorStoreQuery
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import NASTY_TEXTS, ids_of, make_entry

__all__ = ["InjectionTests"]

KEPT = [
    make_entry(f"kept {n}", document_id="kept", metadata={"kept": "kept", "n": n}) for n in range(3)
]


def selected(store: VectorStore, filters: Filter) -> list[str | None]:
    """The ids that a filter selects; counting must agree."""
    ids = ids_of(store.query(VectorStoreQuery(filters=filters, top_k=-1)))
    assert store.count(filters) == len(ids)
    return ids


def nasty_rows() -> list[VectorEntry]:
    """One row for each nasty text, in its id, document id, text, and metadata key and value."""
    return [
        make_entry(text, text=text, document_id=text, metadata={"v": text, text: "found"})
        for text in NASTY_TEXTS
    ]


class InjectionTests(StoreSuite):
    """Ids, document ids, keys and values full of quotes, backslashes, brackets and operators."""

    def test_nasty_texts_that_are_not_there_select_nothing(self, store: VectorStore) -> None:
        store.add(KEPT)
        for text in NASTY_TEXTS:
            assert store.get([text]) == [], f"get({text!r})"
            assert store.count(ids=[text]) == 0, f"ids {text!r}"
            assert store.count(document_ids=[text]) == 0, f"document id {text!r}"
            assert selected(store, where("kept") == text) == [], f"value {text!r}"
            assert selected(store, where(text) == "kept") == [], f"key {text!r}"
        every = list(NASTY_TEXTS)
        assert store.query(VectorStoreQuery(ids=every)) == []
        assert store.query(VectorStoreQuery(document_ids=every)) == []
        assert selected(store, where("kept").in_(every)) == []

    def test_nasty_texts_that_are_not_there_delete_nothing(self, store: VectorStore) -> None:
        store.add(KEPT)
        for text in NASTY_TEXTS:
            store.delete(text)
            assert store.delete_by_filter(ids=[text]) == 0
            assert store.delete_by_filter(document_ids=[text]) == 0
            assert store.delete_by_filter(where("kept") == text) == 0
            assert store.delete_by_filter(where(text) == "kept") == 0
        store.delete(list(NASTY_TEXTS))
        assert store.count() == len(KEPT)

    def test_nasty_texts_select_their_own_row(self, store: VectorStore) -> None:
        store.add([*KEPT, *nasty_rows()])
        for text in NASTY_TEXTS:
            assert ids_of(store.get([text])) == [text]
            assert ids_of(store.query(VectorStoreQuery(ids=[text]))) == [text]
            assert ids_of(store.query(VectorStoreQuery(document_ids=[text]))) == [text]
            assert selected(store, where("v") == text) == [text], f"value {text!r}"
            assert selected(store, where(text) == "found") == [text], f"key {text!r}"
            assert selected(store, where("v").in_([text, "x"])) == [text]

    def test_nasty_texts_delete_their_own_row(self, store: VectorStore) -> None:
        ways: dict[str, Callable[[str], object]] = {
            "id": lambda text: store.delete(text),
            "ids": lambda text: store.delete_by_filter(ids=[text]),
            "document_ids": lambda text: store.delete_by_filter(document_ids=[text]),
            "value": lambda text: store.delete_by_filter(where("v") == text),
            "key": lambda text: store.delete_by_filter(where(text) == "found"),
        }
        for number, (way, delete) in enumerate(ways.items()):
            store.add([*KEPT, *nasty_rows()])
            for text in NASTY_TEXTS[number :: len(ways)]:
                delete(text)
            gone = set(NASTY_TEXTS[number :: len(ways)])
            left = {row.id for row in store.scan()}
            assert left == {*ids_of(KEPT), *NASTY_TEXTS} - gone, f"deleting by {way}"
