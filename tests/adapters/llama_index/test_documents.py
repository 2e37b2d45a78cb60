"""Nodes come back equal, and rows of others become nodes."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from pydantic import BaseModel

from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import HybridVector, SparseVector
from ragbridge.errors import InvalidDocumentError, InvalidEmbeddingError
from ragbridge.llama_index import from_llama_index_node, to_llama_index_node
from ragbridge.llama_index.documents import from_llama_index_nodes
from ragbridge.retrievers import QueryMatch
from ragbridge.stores.base import VectorEntry

SOURCE = Document(id_="doc", text="the whole", metadata={"author": "Ada", "year": 1843})
VECTOR = [1.0, 0.5, -0.25, 0.0]


def full(node_class=TextNode, **fields):
    """A node with something in every field."""
    given = {
        "id_": "n1",
        "embedding": VECTOR,
        "metadata": {"author": "Ada", "year": 1843, "tags": ["a", {"b": None}], "ok": True},
        "excluded_embed_metadata_keys": ["year"],
        "excluded_llm_metadata_keys": ["author", "ok"],
        "relationships": {
            NodeRelationship.SOURCE: SOURCE.as_related_node_info(),
            NodeRelationship.PREVIOUS: RelatedNodeInfo(
                node_id="n0", node_type=ObjectType.TEXT, metadata={"author": "Bob"}, hash="h"
            ),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="n2"),
            NodeRelationship.PARENT: RelatedNodeInfo(node_id="p", node_type="custom"),
            NodeRelationship.CHILD: [
                RelatedNodeInfo(node_id="c1", metadata={"year": 1843}),
                RelatedNodeInfo(node_id="c2"),
            ],
        },
        "metadata_template": "{key}={value}",
        "metadata_separator": "; ",
        "text_template": "{content} ({metadata_str})",
    }
    return node_class(**{**given, **fields})


NODES = {
    "plain": TextNode(id_="n1", text="hello"),
    "full": full(text="hello", mimetype="text/markdown", start_char_idx=3, end_char_idx=8),
    "strange places": TextNode(id_="n1", text="x", start_char_idx=-1, end_char_idx=0),
    "no text": TextNode(id_="n1"),
    "image": full(ImageNode, text="cat", image="aGVsbG8=", text_embedding=[0.1, 0.2]),
    "image by path": full(ImageNode, image_path="cats/1.png"),
    "image by url": ImageNode(id_="n1", image_url="https://example.com/1.png"),
    "index": full(IndexNode, text="see", index_id="other"),
    "index of JSON": full(IndexNode, text="see", index_id="other", obj={"a": [1, None]}),
    "index of a node": full(
        IndexNode, text="see", index_id="other", obj=full(text="inner", id_="n9")
    ),
    "document": full(Document, text="all of it"),
    "empty document": Document(id_="n1"),
    "image document": ImageDocument(id_="n1", text="cat", image=b"\x00\x01"),
    "node": full(Node, text_resource=MediaResource(text="hello", mimetype="text/html")),
    "node without a text": Node(id_="n1", text_resource=MediaResource(path="a/b.txt")),
    "node of nothing": Node(id_="n1"),
    "node of everything": full(
        Node,
        text_resource=MediaResource(
            text="hello", url="https://example.com/a", embeddings={"dense": [0.5], "sparse": [1.0]}
        ),
        image_resource=MediaResource(data=b"\x89PNG\r\n", path="1.png"),
        audio_resource=MediaResource(url="https://example.com/1.mp3"),
        video_resource=MediaResource(data=b"film", mimetype="video/mp4"),
    ),
}


def same(one: BaseNode, other: BaseNode) -> bool:
    """Equal in every field, the types of numbers and the order of keys included."""
    return (
        type(one) is type(other)
        and one == other
        and one.hash == other.hash
        and repr(one) == repr(other)
        and one.ref_doc_id == other.ref_doc_id
    )


@pytest.mark.parametrize("node", NODES.values(), ids=NODES)
def test_a_node_comes_back_equal(node):
    back = to_llama_index_node(from_llama_index_node(node))
    assert same(back, node), (back, node)


@pytest.mark.parametrize("node", NODES.values(), ids=NODES)
def test_a_store_gives_back_what_it_got(store, node):
    node = node.model_copy(update={"embedding": VECTOR})
    assert store.add([node]) == ["n1"]
    (back,) = store.get_nodes(["n1"])
    assert same(back, node), (back, node)


def test_a_row_means_the_same_to_the_core():
    entry = from_llama_index_node(NODES["full"])
    chunk = entry.chunk
    assert (entry.id, chunk.document_id, chunk.content) == ("n1", "doc", "hello")
    assert (chunk.start, chunk.end) == (3, 8)
    assert chunk.metadata == NODES["full"].metadata
    assert entry.embedding.tolist() == VECTOR


# Stored slim.


def stored_text(node):
    return json.dumps(from_llama_index_node(node).framework_data)


def test_a_plain_node_needs_nothing_more():
    assert from_llama_index_node(TextNode(text="x", metadata={"a": 1})).framework_data == {}


@pytest.mark.parametrize("node_class", [TextNode, ImageNode, Document])
def test_there_is_no_second_copy_of_text_or_metadata(node_class):
    parent = Document(id_="d", text="unique words", metadata={"secret": "a value like no other"})
    node = node_class(
        text="unique words",
        metadata={**parent.metadata, "page": 4},
        relationships={
            NodeRelationship.SOURCE: parent.as_related_node_info(),
            NodeRelationship.PREVIOUS: parent.as_related_node_info(),
        },
    )
    kept = stored_text(node)
    assert "unique words" not in kept
    assert "a value like no other" not in kept
    assert '"page"' not in kept
    assert same(to_llama_index_node(from_llama_index_node(node)), node)


def test_chunks_of_a_splitter_are_kept_slim():
    metadata = {"file_path": "/data/report.pdf", "file_name": "report.pdf", "size": 12345}
    document = Document(text="A sentence of some words. " * 200, metadata=metadata)
    document.excluded_llm_metadata_keys = ["file_path"]
    nodes = SentenceSplitter(chunk_size=64, chunk_overlap=0).get_nodes_from_documents([document])
    assert len(nodes) > 5
    for node in nodes:
        assert same(to_llama_index_node(from_llama_index_node(node)), node)
    sizes = [len(stored_text(node)) for node in nodes]
    whole = [len(node.model_dump_json()) for node in nodes]
    assert max(sizes) < 700
    assert sum(sizes) < sum(whole) / 2


# The user's metadata.

INTERNAL = [
    *(
        "_node_content",
        "_node_type",
        "document_id",
        "doc_id",
        "ref_doc_id",
        "id",
        "text",
        "embedding",
    ),
    *("llama_index", "metadata", "chunk", "framework_data", "deleted", "$meta"),
]


def test_no_key_of_the_user_is_overwritten(store):
    metadata = {key: f"mine: {key}" for key in INTERNAL}
    node = TextNode(id_="n", embedding=VECTOR, metadata=metadata, text="t")
    node.relationships[NodeRelationship.SOURCE] = SOURCE.as_related_node_info()
    store.add([node])
    (back,) = store.get_nodes(["n"])
    assert back.metadata == metadata
    assert (back.text, back.ref_doc_id) == ("t", "doc")


# What cannot be kept.


class Plan(BaseModel):
    steps: list[str]


def test_a_pydantic_object_is_kept_as_json():
    node = IndexNode(id_="n", text="t", index_id="i", obj=Plan(steps=["a"]))
    assert to_llama_index_node(from_llama_index_node(node)).obj == {"steps": ["a"]}


class Titled(TextNode):
    title: str = ""


class Renamed(TextNode):
    @classmethod
    def class_name(cls):
        return "Renamed"


class Bare(BaseNode):
    """A node class that is none of LlamaIndex's."""

    @classmethod
    def get_type(cls):
        return ObjectType.TEXT

    def get_content(self, metadata_mode=None):
        return ""

    def get_content_blocks(self, metadata_mode=None):
        return []

    def set_content(self, value):
        pass

    @property
    def hash(self):
        return ""


def test_subclasses_come_back_as_what_they_are_derived_from():
    for node in (Titled(id_="n", text="t"), Renamed(id_="n", text="t")):
        back = to_llama_index_node(from_llama_index_node(node))
        assert type(back) is TextNode
        assert back.text == "t"


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Titled(id_="n7", text="t", title="T"), "node 'n7': Titled has the field 'title'"),
        (Bare(id_="n7"), "node 'n7': Bare is no node class"),
        (TextNode(id_="n7", text="\ud800"), "node 'n7': .*lone surrogate"),
        (TextNode(id_="n7", metadata={"a": float("nan")}), "node 'n7': .*'a' is nan"),
        (TextNode(id_="n7", metadata={"a": object()}), "node 'n7': .*'a' is no JSON value"),
        (TextNode(id_="n7", metadata={"a": 2**63}), "node 'n7': .*beyond 64 bits"),
        (
            TextNode(
                id_="n7",
                relationships={
                    NodeRelationship.NEXT: RelatedNodeInfo(node_id="n8", metadata={"a": {1}})
                },
            ),
            "node 'n7': framework_data: .*no JSON value",
        ),
        (IndexNode(id_="n7", index_id="i", obj=object()), "node 'n7': framework_data: .*no JSON"),
        ("text", "a node must be a LlamaIndex node, not str 'text'"),
        (TextChunk(content="t"), "a node must be a LlamaIndex node, not TextChunk"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_is_named(store, node, message):
    with pytest.raises(InvalidDocumentError, match=message):
        store.add([TextNode(id_="fine", embedding=VECTOR), node])
    assert store.get_nodes() == []


def test_an_embedding_that_is_none():
    with pytest.raises(InvalidEmbeddingError, match="embedding"):
        from_llama_index_node(TextNode(text="t", embedding=[]))


# Rows that were no nodes.


def test_a_row_of_the_core():
    chunk = TextChunk(content="hello", metadata={"a": 1}, document_id="d", start=2, end=7)
    node = to_llama_index_node(VectorEntry(id="e", chunk=chunk, embedding=VECTOR))
    expected = TextNode(
        id_="e",
        text="hello",
        metadata={"a": 1},
        embedding=VECTOR,
        start_char_idx=2,
        end_char_idx=7,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")},
    )
    assert same(node, expected)


@pytest.mark.parametrize("embedding", [None, VECTOR])
def test_a_text_node_is_as_llama_index_makes_it(embedding):
    source = RelatedNodeInfo(
        node_id="d", node_type=ObjectType.DOCUMENT, metadata={"a": 1}, hash="x"
    )
    expected = TextNode(
        id_="e",
        text="hello",
        metadata={"a": 1},
        embedding=embedding,
        relationships={NodeRelationship.SOURCE: source},
    )
    made = to_llama_index_node(from_llama_index_node(expected))
    for one, other in ((made, expected), (made.source_node, source)):
        assert [*vars(one).items()] == [*vars(other).items()]
        assert one.__pydantic_extra__ == other.__pydantic_extra__
        assert one.__pydantic_private__ == other.__pydantic_private__
        assert one.to_json() == other.to_json()
        assert pickle.loads(pickle.dumps(one)) == one.model_copy(deep=True) == other


def test_a_node_shares_nothing_that_it_can_change():
    chunk = TextChunk(content="hello", metadata={"a": 1}, document_id="d")
    entry = VectorEntry(id="e", chunk=chunk)
    one, other = to_llama_index_node(entry), to_llama_index_node(entry)
    one.metadata["a"] = 2
    one.excluded_embed_metadata_keys.append("a")
    one.excluded_llm_metadata_keys.append("a")
    del one.relationships[NodeRelationship.SOURCE]
    assert chunk.metadata == {"a": 1}
    assert same(other, to_llama_index_node(entry))


def test_a_row_of_another_framework():
    entry = VectorEntry(
        id="e",
        chunk=TextChunk(content="hello"),
        framework_data={"langchain": {"class": "Document"}},
    )
    assert same(to_llama_index_node(entry), TextNode(id_="e", text="hello"))


def test_what_a_retriever_found():
    match = QueryMatch(id="e", chunk=TextChunk(content="hello"), similarity_score=0.5)
    assert same(to_llama_index_node(match), TextNode(id_="e", text="hello"))
    nameless = QueryMatch(id=None, chunk=TextChunk(content="hello"), similarity_score=0.5)
    assert to_llama_index_node(nameless).text == "hello"


def test_content_that_is_no_text():
    metadata = {"mime_type": "image/png"}
    node = to_llama_index_node(
        VectorEntry(id="e", chunk=Chunk(type="image", content=b"\x89PNG", metadata=metadata))
    )
    assert node.image_resource == MediaResource(data=b"\x89PNG", mimetype="image/png")
    data = to_llama_index_node(VectorEntry(chunk=Chunk(content=b"abcd")))
    assert data.text_resource.data == b"YWJjZA=="
    listed = to_llama_index_node(VectorEntry(chunk=Chunk(content={"é": [1, None]})))
    assert listed.text == '{"é": [1, null]}'


def test_of_a_hybrid_vector_a_node_has_the_dense_part():
    vector = HybridVector(VECTOR, SparseVector([1], [2.0]))
    node = to_llama_index_node(VectorEntry(chunk=TextChunk(content="t"), embedding=vector))
    assert node.embedding == VECTOR


@pytest.mark.parametrize(
    "data",
    [
        {"relationships": {"next": 3}},
        {"relationships": {"next": {}}},
        {"class": "IndexNode"},
        {"metadata_template": 3},
        {"class": "Node", "text_resource": 3},
        {"class": "IndexNode", "index_id": "i", "obj": {}},
    ],
    ids=json.dumps,
)
def test_damaged_data_are_named(data):
    entry = VectorEntry(id="e", chunk=TextChunk(content="t"), framework_data={"llama_index": data})
    with pytest.raises(InvalidDocumentError, match=r"row 'e' has data .* that make no .*Node"):
        to_llama_index_node(entry)


@pytest.mark.parametrize("data", [{"class": "AudioNode"}, {"class": 3}, "text", None])
def test_a_class_that_is_not_known_becomes_a_text_node(data):
    entry = VectorEntry(id="e", chunk=TextChunk(content="t"), framework_data={"llama_index": data})
    assert same(to_llama_index_node(entry), TextNode(id_="e", text="t"))


# Any node.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts.filter(bool)
templates = texts.filter(lambda text: not set(text) & set("{}")) | st.sampled_from(
    ["{key}: {value}"]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
metadata = st.dictionaries(texts, json_values, max_size=4)
related = st.builds(
    RelatedNodeInfo,
    node_id=names,
    node_type=st.none()
    | st.sampled_from(ObjectType)
    | texts.filter(lambda text: text not in {kind.value for kind in ObjectType}),
    metadata=metadata,
    hash=st.none() | texts,
)


@st.composite
def relationships(draw, own):
    """Relations to nodes whose metadata are often those of the node itself."""
    mostly_own = st.sampled_from([{}, own, dict(list(own.items())[:1])]) | metadata
    kinds = draw(st.sets(st.sampled_from(NodeRelationship)))
    relations = {}
    for kind in sorted(kinds):
        info = draw(related)
        info.metadata = {**draw(mostly_own)}
        relations[kind] = [info, draw(related)] if kind is NodeRelationship.CHILD else info
    return relations


@st.composite
def nodes(draw):
    """Nodes of every class, with anything in their fields."""
    own = draw(metadata)
    fields = {
        "id_": draw(names),
        "embedding": [1.0, draw(st.floats(-1, 1, width=32)) + 0.0],
        "metadata": own,
        "excluded_embed_metadata_keys": draw(st.lists(texts, max_size=2)),
        "excluded_llm_metadata_keys": draw(st.lists(texts, max_size=2)),
        "relationships": draw(relationships(own)),
        "metadata_template": draw(templates),
        "metadata_separator": draw(texts),
        "text_template": draw(texts),
    }
    kind = draw(st.sampled_from([TextNode, IndexNode, ImageNode, Document, Node]))
    if kind in (Document, Node):
        text = st.builds(MediaResource, text=st.none() | texts, mimetype=st.none() | texts)
        image = st.builds(MediaResource, data=st.binary(max_size=9), path=st.none() | names)
        fields |= {"text_resource": draw(st.none() | text), "image_resource": draw(image)}
        return kind(**fields)
    places = st.none() | st.integers(-3, 2**63 - 1)
    fields |= {"text": draw(texts), "start_char_idx": draw(places), "end_char_idx": draw(places)}
    if kind is IndexNode:
        fields |= {"index_id": draw(texts), "obj": draw(json_values)}
    if kind is ImageNode:
        fields |= {"image_url": draw(st.none() | texts), "image": draw(st.none() | texts)}
    return kind(**fields)


@given(nodes())
def test_any_node_comes_back_equal(node):
    back = to_llama_index_node(from_llama_index_node(node))
    assert same(back, node), (back, node)


@given(st.lists(nodes(), max_size=4))
def test_many_at_once_are_the_same_as_one_by_one(many):
    assert from_llama_index_nodes(many) == [from_llama_index_node(node) for node in many]


@given(nodes())
def test_what_is_kept_is_json(node):
    kept = from_llama_index_node(node).framework_data
    assert json.loads(json.dumps(kept)) == kept


def test_any_node_comes_back_from_a_store(node_store, few_examples):
    @given(st.lists(nodes(), min_size=1, max_size=5, unique_by=lambda node: node.id_))
    def check(given_nodes):
        for node in given_nodes:
            node.embedding = [*node.embedding, 0.0, 0.0]
            node.id_ = node.id_[:60]
        unique = {node.id_: node for node in given_nodes}
        node_store.clear()
        node_store.add(list(unique.values()))
        for back in node_store.get_nodes(list(unique)):
            assert same(back, unique[back.id_]), (back, unique[back.id_])

    check()
