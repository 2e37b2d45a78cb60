"""Documents, chunks and metadata: what is taken, what it becomes, what is refused."""

import json
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from case_names import shown
from ragbridge.documents import (
    WELL_KNOWN_METADATA_KEYS,
    AudioDocument,
    BinaryDocument,
    Chunk,
    Document,
    FileDocument,
    ImageDocument,
    TextChunk,
    TextDocument,
    is_plain_json,
    validate_metadata,
)
from ragbridge.errors import InvalidDocumentError
from ragbridge.testing._strategies import metadata

TYPES = {
    "text": (TextDocument, "words"),
    "image": (ImageDocument, b"\x89PNG"),
    "audio": (AudioDocument, "https://example.org/a.mp3"),
    "file": (FileDocument, b"%PDF"),
    "binary": (BinaryDocument, b"\x00\xff"),
    "document": (Document, {"any": "thing"}),
    "chunk": (Chunk, b"bytes"),
    "text-chunk": (TextChunk, "words"),
}


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


@pytest.mark.parametrize("kind", TYPES)
def test_every_kind_has_its_type(kind):
    model, content = TYPES[kind]
    made = model(content=content)
    assert (made.type, made.content, made.metadata, made.id) == (kind, content, {}, None)
    assert model(content=content, type="own").type == "own"


@pytest.mark.parametrize("kind", TYPES)
def test_documents_travel_as_json(kind):
    model, content = TYPES[kind]
    made = model(id="d", content=content, metadata={"a": [1, 1.0, None, {"b": True}]})
    assert model.model_validate_json(made.model_dump_json()).metadata == made.metadata
    assert pickle.loads(pickle.dumps(made)) == made
    if not (isinstance(content, bytes) and kind in ("image", "file", "chunk")):
        # Where text is content too, JSON cannot tell it from bytes.
        assert model.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (TextDocument, b"bytes"),
        (TextDocument, None),
        (TextDocument, 1),
        (TextDocument, ["words"]),
        (TextDocument, "\ud800"),
        (ImageDocument, 1),
        (AudioDocument, ["x"]),
        (FileDocument, None),
        (BinaryDocument, "text"),
        (TextChunk, b"bytes"),
    ],
)
def test_content_has_a_type(model, wrong):
    with pytest.raises(InvalidDocumentError, match="content"):
        model(content=wrong)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("id", 1),
        ("id", ""),
        ("id", "\udfff"),
        ("type", ""),
        ("type", None),
        ("type", 1),
        ("document_id", 7),
        ("document_id", ""),
        ("index", -1),
        ("index", "1"),
        ("index", 1.0),
        ("index", 2**63),
        ("start", -5),
        ("end", 2**64),
        ("metadata", None),
        ("metadata", []),
        ("metadata", "a"),
        ("metadata", [("a", 1)]),
        ("colour", "red"),
    ],
)
def test_fields_are_checked_by_name(field, wrong):
    with pytest.raises(InvalidDocumentError, match=field if field != "document_id" else "id"):
        TextChunk(**{"content": "words", field: wrong})


def test_content_is_required():
    with pytest.raises(InvalidDocumentError, match="content"):
        TextDocument()


@pytest.mark.parametrize("wrong", [None, 1, "text", [], b""])
def test_documents_are_made_of_mappings(wrong):
    with pytest.raises(InvalidDocumentError):
        TextDocument.model_validate(wrong)


def test_documents_are_immutable():
    made = TextDocument(content="words")
    with pytest.raises(Exception, match="frozen"):
        made.content = "others"
    assert made.model_copy(update={"content": "others"}).content == "others"
    assert made.content == "words"


def test_documents_may_be_fields_of_other_models():
    class Answer(BaseModel):
        source: TextDocument

    assert Answer(source=TextDocument(content="words")).source.content == "words"
    with pytest.raises(InvalidDocumentError, match="metadata"):
        Answer(source={"content": "words", "metadata": {"a": object()}})


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Colour.RED, "red"),
        (Size.LARGE, 3),
        ((1, (2, 3)), [1, [2, 3]]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (-0.0, 0.0),
        ([-0.0, {"a": -0.0}], [0.0, {"a": 0.0}]),
        (np.float64(0.5), 0.5),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (1.0, 1.0),
        (True, True),
        (None, None),
        ("\U0001f44d \x00", "\U0001f44d \x00"),
        (datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00.000000Z"),
        (
            [datetime(2024, 5, 1, 12, 0, 0, 7, tzinfo=timezone(timedelta(hours=2)))],
            ["2024-05-01T10:00:00.000007Z"],
        ),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
    ],
    ids=repr,
)
def test_metadata_becomes_plain_json(value, stored):
    kept = TextDocument(content="", metadata={"a": value}).metadata["a"]
    assert repr(kept) == repr(stored)
    assert type(kept) is type(stored)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        b"bytes",
        1j,
        Decimal("1.5"),
        date(2024, 5, 1),
        float("nan"),
        float("inf"),
        2**63,
        -(2**63) - 1,
        datetime(2024, 5, 1),  # noqa: DTZ001 - without a zone on purpose
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        "\ud800",
        {1: "a"},
        {None: "a"},
        {"\udc00": "a"},
        np.int64(1),
        np.array([1]),
        iter([1]),
        ...,
    ],
    ids=shown,
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [1, v], lambda v: {"in": {"it": v}}])
def test_metadata_that_is_no_json_is_refused_by_name(value, wrap):
    with pytest.raises(InvalidDocumentError, match="price"):
        TextDocument(content="", metadata={"price": wrap(value)})


@pytest.mark.parametrize("key", [1, None, ("a", "b"), b"key", True, 1.5])
def test_keys_are_strings(key):
    with pytest.raises(InvalidDocumentError, match="key"):
        TextDocument(content="", metadata={key: 1})


def test_keys_may_be_any_text():
    keys = {"", " ", "a.b", "'", '"', "\n", "\x00", "\U0001f44d", "$meta", "id", *"aA"}
    assert TextDocument(content="", metadata=dict.fromkeys(keys, 1)).metadata.keys() == keys
    assert type(next(iter(validate_metadata({Colour.RED: 1})))) is str


def test_metadata_is_a_copy():
    given = {"list": [1], "object": {"a": [1]}}
    made = TextDocument(content="", metadata=given)
    given["list"].append(2)
    given["object"]["a"].append(2)
    given["new"] = 1
    assert made.metadata == {"list": [1], "object": {"a": [1]}}


def test_metadata_has_a_depth():
    def nested(levels):
        value = 1
        for _ in range(levels):
            value = [value]
        return {"deep": value}

    validate_metadata(nested(64))
    with pytest.raises(InvalidDocumentError, match="deep"):
        validate_metadata(nested(65))
    with pytest.raises(InvalidDocumentError, match="deep"):
        validate_metadata(nested(5000))
    endless = []
    endless.append(endless)
    with pytest.raises(InvalidDocumentError, match="deep"):
        validate_metadata({"deep": endless})


def test_errors_do_not_quote_a_whole_document():
    with pytest.raises(InvalidDocumentError) as caught:
        TextDocument(content=["secret " * 100])
    assert len(str(caught.value)) < 300


@given(metadata())
def test_valid_metadata_stays_as_it_is(data):
    data = validate_metadata(data)  # where a -0.0 became 0.0
    again = validate_metadata(data)
    assert json.dumps(again) == json.dumps(data)
    assert is_plain_json([data])


_odd = st.sampled_from([-0.0, float("nan"), 2**63, (1,), Colour.RED, "\ud800", b"", object()])
_any = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans() | st.none() | _odd,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=2), _any, max_size=3))
def test_the_fast_look_never_lets_pass_what_the_check_changes_or_refuses(data):
    if is_plain_json([data]):
        assert repr(validate_metadata(data)) == repr(data)


def test_well_known_keys_are_keys_as_any_other():
    assert set(WELL_KNOWN_METADATA_KEYS) == {
        *("mime_type", "file_name", "file_size", "created_at", "modified_at"),
        *("index", "header", "language"),
    }
    made = TextDocument(content="", metadata=dict.fromkeys(WELL_KNOWN_METADATA_KEYS, "anything"))
    assert len(made.metadata) == len(WELL_KNOWN_METADATA_KEYS)
