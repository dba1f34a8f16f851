"""Frames survive any way of being cut up, and what is not a frame is refused at once."""

from __future__ import annotations

import contextlib
import itertools
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold_runtime.frames import Decoder, Frame, FrameError, encode, encode_head, parse_address

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
frames = st.builds(Frame, st.dictionaries(st.text(), json_values, max_size=4), st.binary(max_size=200))


@given(st.lists(frames, max_size=5), st.lists(st.integers(1, 60), min_size=1))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(sent: list[Frame], cuts: list[int]) -> None:
    data = b"".join(encode(frame.header, frame.payload) for frame in sent)
    decoder, received, position, index = Decoder(), [], 0, 0
    while position < len(data):
        size = cuts[index % len(cuts)]
        received += decoder.feed(data[position : position + size])
        position, index = position + size, index + 1
    assert received == sent
    assert decoder.pending == 0


def test_a_half_frame_waits_for_the_rest() -> None:
    data = encode({"id": 1}, b"abc")
    decoder = Decoder()
    assert decoder.feed(data[:10]) == []
    assert decoder.pending == 10
    assert decoder.feed(data[10:-1]) == []
    assert decoder.pending == 2  # its header has been read
    assert decoder.feed(data[-1:]) == [Frame({"id": 1}, b"abc")]


@pytest.mark.parametrize("sizes", [[262_144], [1, 100_000, 3, 3], [5000, 4095], [700_001], [29, 70_000]])
def test_large_payloads_come_out_whole(sizes: list[int]) -> None:
    sent = [Frame({"id": number}, bytes([number]) * (600_000 + number)) for number in range(3)]
    data = b"".join(encode(frame.header, frame.payload) for frame in sent)
    decoder, received, position = Decoder(), list[Frame](), 0
    for size in itertools.cycle(sizes):
        received += decoder.feed(data[position : position + size])
        position += size
        if position >= len(data):
            break
    assert received == sent
    assert decoder.pending == 0


@given(st.binary(min_size=8, max_size=300))
def test_noise_is_a_frame_error_or_an_unfinished_frame_and_never_anything_else(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        for frame in Decoder(max_payload=1000, max_header=1000).feed(data):
            assert isinstance(frame.header, dict)


@pytest.mark.parametrize(
    ("lengths", "code"), [((11, 0), "header_too_large"), ((2, 11), "payload_too_large")], ids=["header", "payload"]
)
def test_lengths_over_the_limit_are_refused_before_anything_is_stored(lengths: tuple[int, int], code: str) -> None:
    with pytest.raises(FrameError) as caught:
        Decoder(max_payload=10, max_header=10).feed(struct.pack(">II", *lengths))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "header", [b"[]", b"{", b"\xff", b"1", b"[" * 100_000], ids=["list", "cut", "bytes", "number", "deep"]
)
def test_a_header_that_is_not_a_json_object_is_refused(header: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        Decoder().feed(struct.pack(">II", len(header), 0) + header)
    assert caught.value.code == "bad_header"


def test_headers_carry_any_text_even_what_utf8_cannot() -> None:
    header = {"message": "a\ud800b", "name": "Zoë 🎈"}
    (frame,) = Decoder().feed(encode(header))
    assert frame.header == header


def test_a_header_over_a_mebibyte_cannot_be_sent() -> None:
    with pytest.raises(FrameError) as caught:
        encode({"text": "x" * (1024 * 1024)})
    assert caught.value.code == "header_too_large"
    with pytest.raises(FrameError) as caught:
        encode_head({}, 2**32)
    assert caught.value.code == "payload_too_large"


def test_a_frame_tells_what_its_header_says() -> None:
    frame = Frame({"id": 7, "ok": True, "more": True}, b"[1]")
    assert (frame.id, frame.ok, frame.more, frame.json()) == (7, True, True, [1])
    assert (Frame({"ok": 1}).ok, Frame().more) == (False, False)


@pytest.mark.parametrize("text", ["unix:/run/a:b.sock", "tcp:127.0.0.1:80"])
def test_an_address_reads_as_it_is_written(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize("text", ["", "unix:", "tcp:host", "tcp:host:x", "tcp:host:70000", "http://x", "/run/a.sock"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unix:PATH or tcp:HOST:PORT"):
        parse_address(text)


def test_json_of_a_header_is_compact() -> None:
    head = encode_head({"id": 1, "ok": True}, 0)
    assert head[8:] == b'{"id":1,"ok":true}'
    assert json.loads(head[8:]) == {"id": 1, "ok": True}
