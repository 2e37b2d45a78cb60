"""Objects made without checks are what their classes make of the same values."""

import copy
import pickle

from hypothesis import given
from hypothesis import strategies as st

from ragbridge._unchecked import make_model, make_models, make_objects
from ragbridge.documents import TextChunk
from ragbridge.stores.base import VectorMatch
from ragbridge.testing._strategies import metadata

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
CHUNKS = st.builds(
    TextChunk,
    id=st.none() | TEXTS.filter(bool),
    content=TEXTS,
    metadata=metadata(),
    start=st.none() | st.integers(0, 9),
)


@given(st.lists(CHUNKS, max_size=3))
def test_models(chunks):
    names = ("content", "metadata")
    made = make_models(TextChunk, [dict(chunk) for chunk in chunks], names)
    assert made == chunks
    assert made == [make_model(TextChunk, dict(chunk), names) for chunk in chunks]
    for one, chunk in zip(made, chunks, strict=True):
        assert one.model_fields_set == {*names}
        assert one.model_dump_json() == chunk.model_dump_json()
        assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one.model_copy() == chunk
    assert len({id(each.model_fields_set) for each in made}) == len(made)


@given(st.lists(st.tuples(TEXTS.filter(bool), CHUNKS, st.floats(0, 1)), max_size=3))
def test_objects(fields):
    matches = [
        VectorMatch(id=row_id, chunk=chunk, similarity_score=score)
        for row_id, chunk, score in fields
    ]
    names = ("id", "embedding", "chunk", "framework_data", "deleted", "similarity_score")
    columns = {name: [getattr(match, name) for match in matches] for name in names}
    made = make_objects(VectorMatch, len(matches), columns)
    assert made == matches
    assert repr(made) == repr(matches)
