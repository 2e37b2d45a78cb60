"""The embedded default embeddings: deterministic, offline, lexical."""

import os
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge import Chunk, HashingEmbeddingProvider, TextChunk
from ragbridge.errors import InvalidConfigError, InvalidDocumentError

PROVIDER = HashingEmbeddingProvider()
TEXT = "Grüße aus 東京! 🎧 x² 3,5"

SHORT = [
    0.2182178944349289,
    0.4364357888698578,
    -0.10910894721746445,
    -0.32732683420181274,
    -0.7637625932693481,
    0.0,
    0.10910894721746445,
    -0.2182178944349289,
]
DIGEST = "e169b9898c54bb46d18757341e7bfcd342cda8bbe8ec6713e289a40edfdcdade"


def likeness(one, other):
    return float(PROVIDER.embed_query(one) @ PROVIDER.embed_query(other))


def test_the_same_vector_on_every_platform_and_run():
    """The literals were written down once; a change of them makes stored vectors useless."""
    short = HashingEmbeddingProvider(8).embed_query("Wireless headphones")
    assert short.tolist() == SHORT
    assert sha256(PROVIDER.embed_query(TEXT).astype("<f4").tobytes()).hexdigest() == DIGEST


def test_hash_randomisation_changes_nothing():
    code = (
        "from ragbridge import HashingEmbeddingProvider as P;"
        f"print(P().embed_query({TEXT!r}).tobytes().hex())"
    )
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
        made = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert made.stdout.strip() == PROVIDER.embed_query(TEXT).tobytes().hex()


@given(st.text(max_size=200))
def test_every_text_has_a_unit_vector(text):
    vector = PROVIDER.embed_query(text)
    assert vector.dtype == np.float32
    assert vector.shape == (1024,)
    assert np.linalg.norm(vector.astype(np.float64)) == pytest.approx(1, abs=1e-6)


def test_likeness_is_lexical():
    query = "wireless headphones"
    assert likeness(query, "Headphones, wireless") > likeness(query, "wireless keyboard")
    assert likeness(query, "wirless headphone") > likeness(query, "garden hose") + 0.2
    assert likeness("the price of it", "price") == pytest.approx(1, abs=1e-6)
    assert likeness("cheap", "affordable") < 0.2


def test_case_and_compatibility_forms_do_not_matter():
    assert likeness("ＷＩＦＩ Router", "wifi router") == pytest.approx(1, abs=1e-6)


def test_chunks_and_queries_have_the_same_vectors():
    chunk = TextChunk(content=TEXT, metadata={"a": 1})
    assert np.array_equal(PROVIDER.embed(chunk), PROVIDER.embed_query(TEXT))
    batch = PROVIDER.batch_embed([chunk, TextChunk(content="x")])
    assert np.array_equal(batch[0], PROVIDER.embed(chunk))
    assert PROVIDER.batch_embed([]) == []


async def test_async_twins_give_the_same():
    chunk = TextChunk(content=TEXT)
    assert np.array_equal(await PROVIDER.aembed(chunk), PROVIDER.embed(chunk))
    assert np.array_equal(await PROVIDER.aembed_query(TEXT), PROVIDER.embed_query(TEXT))


def test_the_dimension_is_a_choice():
    assert HashingEmbeddingProvider(64).embed_query("x").shape == (64,)
    assert repr(HashingEmbeddingProvider(64)) == "HashingEmbeddingProvider(dimension=64)"


@pytest.mark.parametrize("dimension", [0, 1, -5, 2.0, "8", True, None])
def test_refuses_impossible_dimensions(dimension):
    with pytest.raises(InvalidConfigError, match="dimension"):
        HashingEmbeddingProvider(dimension)


def test_refuses_what_is_no_text():
    with pytest.raises(InvalidDocumentError, match="text only"):
        PROVIDER.embed(Chunk(content=b"bytes"))
