"""`Key: value` lines and front matter as metadata."""

import pytest

from ragbridge.chunkers import FieldExtractor, MarkdownChunker
from ragbridge.documents import TextDocument
from ragbridge.errors import InvalidDocumentError

CATALOG = """---
title: Shop
Valid from: 2026-03-01
---
Currency: USD

# Phones

Warranty: 2 years

## Alpha

- **Price:** $1,749.50
- **In stock:** true
* Rating : 4

A good phone. Note that this: is prose, with
more of it.

```
Weight: 100
```

> Quote: not ours

## Beta
Price: 20 €
Colour: red

# Books
Price: 7
"""


def extract(text, **settings):
    document = TextDocument(content=text, metadata={"mime_type": "text/markdown"})
    chunks = FieldExtractor(MarkdownChunker(**settings)).chunk(document)
    hidden = {"mime_type", "header", "headers"}
    return {
        (chunk.metadata.get("header"), chunk.start): {
            key: value for key, value in chunk.metadata.items() if key not in hidden
        }
        for chunk in chunks
    }


def by_header(text, **settings):
    return {header: fields for (header, _), fields in extract(text, **settings).items()}


def test_fields_are_typed_and_hold_for_their_section_and_those_inside():
    whole = {"title": "Shop", "valid_from": "2026-03-01", "currency": "USD"}
    phones = {**whole, "warranty": "2 years"}
    assert by_header(CATALOG) == {
        None: whole,
        "Phones": phones,
        "Alpha": {**phones, "price": 1749.5, "in_stock": True, "rating": 4},
        "Beta": {**phones, "price": 20, "colour": "red"},
        "Books": {**whole, "price": 7},
    }


def test_every_chunk_of_a_long_section_has_its_fields():
    text = "# A\n\nPrice: 5\n\n" + "word " * 300 + "\n\n# B\n\n" + "word " * 300
    found = extract(text, chunk_size=200, chunk_overlap=20)
    assert len(found) > 10
    for (header, _), fields in found.items():
        assert fields == ({"price": 5} if header == "A" else {})


def test_a_heading_without_text_lends_its_place_but_not_its_fields():
    assert by_header("# Shop\n## Phone\nPrice: 5\n## Book\nPrice: 6") == {
        "Phone": {"price": 5},
        "Book": {"price": 6},
    }


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("$749", 749),
        ("749 $", 749),
        ("£1,000,000", 1_000_000),
        ("-3.5", -3.5),
        ("1,5", "1,5"),
        ("12,34", "12,34"),
        ("15%", "15%"),
        ("3 kg", "3 kg"),
        ("True", True),
        ("yes", "yes"),
        ("007", 7),
        ("1e5", "1e5"),
        ("9" * 30, "9" * 30),
        ("2026-01-31", "2026-01-31"),
        ("a: b", "a: b"),
    ],
)
def test_values(line, value):
    (fields,) = by_header(f"# A\nKey: {line}\n").values()
    assert fields == {"key": value}
    assert type(fields["key"]) is type(value)


@pytest.mark.parametrize(
    "text",
    ["https://example.com", "12:30", "Key:value", "Prose: " + "long " * 50, "One\nKey: 1", ": 1"],
)
def test_what_is_no_field(text):
    (fields,) = by_header(f"# A\n{text}\n").values()
    assert fields == {}


def test_what_is_there_already_is_kept():
    document = TextDocument(
        content="# A\nPrice: 1\nHeader: x\n",
        metadata={"price": "mine", "mime_type": "text/markdown"},
    )
    (chunk,) = FieldExtractor().chunk(document)
    assert chunk.metadata["price"] == "mine"
    assert chunk.metadata["header"] == "A"


@pytest.mark.parametrize("mime_type", ["text/plain", "text/html"])
def test_other_documents_pass_unchanged(mime_type):
    document = TextDocument(content="Price: 1", metadata={"mime_type": mime_type})
    (chunk,) = FieldExtractor().chunk(document)
    assert chunk.metadata == {"mime_type": mime_type}


@pytest.mark.parametrize("matter", ["a: [", "a: 2020-99-99", "a: 99999999999999999999999"])
def test_bad_front_matter_is_refused(matter):
    with pytest.raises(InvalidDocumentError):
        extract(f"---\n{matter}\n---\ntext")


def test_front_matter_that_is_no_mapping_is_only_text():
    assert by_header("---\n- a\n- b\n---\ntext") == {None: {}}


def test_front_matter_dates_compare_as_text():
    matter = "a: 2026-01-02\nb: 2026-01-02 03:04:05\nc: 2026-01-02T03:04:05Z\nd: [2026-01-02]"
    (fields,) = by_header(f"---\n{matter}\n---\ntext").values()
    assert fields == {
        "a": "2026-01-02",
        "b": "2026-01-02T03:04:05",
        "c": "2026-01-02T03:04:05.000000Z",
        "d": ["2026-01-02"],
    }
