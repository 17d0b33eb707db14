import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.runtime.decoding import BodyReader, BodyTooLarge, UndecodableBodyError


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}


def decode(content_encoding, *chunks, limit=10_000):
    reader = BodyReader(content_encoding, limit)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


@given(st.binary(max_size=2000), st.lists(st.sampled_from(sorted(CODINGS)), max_size=4), st.integers(1, 50))
def test_what_was_packed_comes_out_whole_however_it_is_cut(data, codings, size):
    packed = data
    for coding in codings:
        packed = CODINGS[coding](packed)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert decode(", ".join(codings), *chunks) == data


@given(st.binary(min_size=1, max_size=2000))
def test_bare_deflate_data_is_understood_too(data):
    assert decode("deflate", raw_deflate(data)) == data


@pytest.mark.parametrize("coding", [None, "", "identity", "br", "utf-8", "gzip, br"])
def test_a_coding_that_was_not_asked_for_is_left_as_it_came(coding):
    assert decode(coding, b"as ", b"it came") == b"as it came"


def test_gzip_may_have_several_members_and_padding():
    assert decode("gzip", gzip.compress(b"one ", mtime=0) + gzip.compress(b"two") + bytes(100)) == b"one two"


def test_bytes_after_the_end_of_deflate_data_are_left_out():
    assert decode("deflate", zlib.compress(b"data") + b"more", b"still more") == b"data"


def test_an_empty_body_is_empty_in_every_coding():
    assert decode("gzip, deflate") == b""


@pytest.mark.parametrize(
    "body",
    [b"plain text", gzip.compress(b"x" * 100)[:-1], gzip.compress(b"x")[:5]],
    ids=["plain", "cut", "head only"],  # compressed bytes have the time in them
)
def test_a_body_that_is_not_in_its_coding_is_told(body):
    with pytest.raises(UndecodableBodyError):
        decode("gzip", body)


def test_deflate_that_breaks_in_the_middle_is_told():
    packed = zlib.compress(bytes(range(256)) * 10)
    with pytest.raises(UndecodableBodyError):
        decode("deflate", packed[:60], b"\xff" * 60)


def test_more_than_four_codings_are_an_attack():
    with pytest.raises(UndecodableBodyError):
        decode("gzip, gzip, gzip, gzip, gzip", b"")


@given(st.integers(0, 300), st.sampled_from(sorted(CODINGS)))
def test_the_limit_counts_decoded_bytes_exactly(size, coding):
    packed = CODINGS[coding](b"x" * size)
    if size <= 150:
        assert decode(coding, packed, limit=150) == b"x" * size
    else:
        with pytest.raises(BodyTooLarge):
            decode(coding, packed, limit=150)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_bomb_takes_no_more_memory_than_the_limit(layers):
    packed = bytes(64 * 2**20)
    for _ in range(layers):
        packed = gzip.compress(packed, 9, mtime=0)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decode(", ".join(["gzip"] * layers), packed, limit=2**20)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
