"""The broker's own WebSocket code against RFC 6455, by way of ws_echo: with an independent client
(python3-websockets), and frame by frame, after the cases that the well-known suites try."""
import asyncio
import re
import signal
import struct
import subprocess

import pytest
import websockets

from support.broker import environment, program
from support.ws_client import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Closed, WsClient,
                               encode_frame)

EURO = "€".encode()
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def echo():
    """The address of a ws_echo, which must end well and say nothing."""
    with subprocess.Popen([program("tests/tools/ws_echo"), "--port", "0"], env=environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = re.fullmatch(r"listening on (127\.0\.0\.1:\d+)\n", process.stdout.readline())[1]
        yield f"ws://{address}/"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


@pytest.fixture
def client(echo):
    with WsClient(echo) as connected:
        yield connected


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, MEBIBYTE + 1, 4 * MEBIBYTE])
def test_messages_of_every_length_come_back(echo, length):
    async def exchange():
        async with websockets.connect(echo, max_size=None, compression=None) as ws:
            for message in ("x" * length, b"\xff" * length):
                await ws.send(message)
                assert await ws.recv() == message

    asyncio.run(exchange())


def test_an_independent_client_pings_fragments_and_closes(echo):
    async def exchange():
        async with websockets.connect(echo) as ws:
            await (await ws.ping(b"still there?"))
            await ws.send(["frag", "men", "ted"])
            assert await ws.recv() == "fragmented"
            await ws.close(3000, "enough")
            assert (ws.close_code, ws.close_reason) == (3000, "")

    asyncio.run(exchange())


def test_a_thousand_messages_come_back_in_order(client):
    for i in range(1000):
        client.send_text(str(i))
    assert [client.recv_message() for _ in range(1000)] == [str(i) for i in range(1000)]


# ── Fragments and control frames ────────────────────────────────────────────────────────────────

def test_control_frames_between_fragments_are_answered_before_the_message(client):
    client.send_frame(TEXT, b"one ", fin=False)
    client.send_frame(PING, b"a")
    client.send_frame(CONTINUATION, b"two ", fin=False)
    client.send_frame(CONTINUATION, b"three")
    pong = client.recv_frame()
    assert (pong.opcode, pong.payload) == (PONG, b"a")
    assert client.recv_message() == "one two three"


def test_empty_fragments_and_single_bytes_make_a_message(client):
    client.send_frame(BINARY, b"", fin=False)
    for byte in b"bytes":
        client.send_frame(CONTINUATION, bytes([byte]), fin=False)
    client.send_frame(CONTINUATION, b"")
    assert client.recv_message() == b"bytes"


def test_a_frame_that_comes_byte_by_byte_is_read(client):
    for byte in encode_frame(TEXT, "grün".encode()):
        client.send_raw(bytes([byte]))
    assert client.recv_message() == "grün"


@pytest.mark.parametrize("payload", [b"", b"x", b"\xfe\xff" * 62])
def test_a_ping_is_answered_with_its_payload(client, payload):
    client.send_frame(PING, payload)
    assert client.recv_frame()[1:3] == (PONG, payload)


def test_an_unasked_pong_is_passed_over(client):
    client.send_frame(PONG, b"unasked")
    client.send_text("still here")
    assert client.recv_frame()[1:3] == (TEXT, b"still here")


# ── What breaks the protocol ────────────────────────────────────────────────────────────────────

BROKEN = {
    "an unmasked frame": [dict(opcode=TEXT, payload=b"x", mask=False)],
    "RSV1": [dict(opcode=TEXT, payload=b"x", rsv=4)],
    "RSV2": [dict(opcode=TEXT, payload=b"x", rsv=2)],
    "RSV3 of a ping": [dict(opcode=PING, rsv=1)],
    **{f"reserved opcode {opcode}": [dict(opcode=opcode)] for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]},
    "a fragmented ping": [dict(opcode=PING, payload=b"x", fin=False)],
    "a fragmented close": [dict(opcode=CLOSE, fin=False)],
    "a ping of 126 bytes": [dict(opcode=PING, payload=b"x" * 126)],
    "a close of 126 bytes": [dict(opcode=CLOSE, payload=struct.pack("!H", 1000) + b"x" * 124)],
    "a continuation of nothing": [dict(opcode=CONTINUATION, payload=b"x")],
    "a new message within another": [dict(opcode=TEXT, payload=b"x", fin=False),
                                     dict(opcode=TEXT, payload=b"y")],
    "a continuation after the last one": [dict(opcode=TEXT, payload=b"x", fin=False),
                                          dict(opcode=CONTINUATION, payload=b"y"),
                                          dict(opcode=CONTINUATION, payload=b"z")],
    "a close of one byte": [dict(opcode=CLOSE, payload=b"x")],
    **{f"close code {code}": [dict(opcode=CLOSE, payload=struct.pack("!H", code))]
       for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]},
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_protocol_is_closed_with_1002(client, frames):
    for frame in frames:
        client.send_frame(**frame)
    assert client.expect_close().code == 1002
    client.expect_end()


@pytest.mark.parametrize("header", [b"\x81\xfe\x00\x7d", b"\x81\xff" + b"\0" * 6 + b"\xff\xff",
                                    b"\x81\xff\x80" + b"\0" * 7], ids=["125", "65535", "2^63"])
def test_a_length_that_is_not_minimal_or_not_possible_is_closed_with_1002(client, header):
    client.send_raw(header + b"\0" * 4)
    assert client.expect_close().code == 1002


def test_a_message_that_is_too_long_is_closed_with_1009_before_it_comes(client):
    client.send_raw(b"\x82\xff" + struct.pack("!Q", (16 << 20) + 1) + b"\0" * 4)
    assert client.expect_close().code == 1009


# ── Text ────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("text", [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\xf4\x90\x80\x80", b"\xc0\xaf",
    b"\xe2\x82", b"\x80", b"\xff", b"\xed\xbf\xbf", b"\xf8\x88\x80\x80\x80"])
def test_text_that_is_not_utf8_is_closed_with_1007(client, text):
    client.send_frame(TEXT, text)
    assert client.expect_close().code == 1007


def test_bad_text_is_found_before_its_message_is_complete(client):
    client.send_frame(TEXT, b"fine so far, ", fin=False)
    client.send_frame(CONTINUATION, b"\xf4\x90", fin=False)
    assert client.expect_close().code == 1007


def test_a_character_may_be_cut_by_fragments(client):
    client.send_frame(TEXT, EURO[:1], fin=False)
    client.send_frame(CONTINUATION, EURO[1:2], fin=False)
    client.send_frame(CONTINUATION, EURO[2:])
    assert client.recv_message() == "€"


def test_a_close_reason_that_is_not_utf8_is_refused(client):
    client.send_frame(CLOSE, struct.pack("!H", 1000) + b"\xce\xba\xe1")
    assert client.expect_close().code in (1002, 1007)


# ── Closing ─────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code_and_the_stream_ends(client, code):
    assert client.close(code, "x" * 123).code == code


def test_an_empty_close_is_answered(client):
    client.send_frame(CLOSE)
    assert client.expect_close().code in (1000, 1005)
    client.expect_end()


def test_nothing_is_answered_after_the_close(client):
    client.send_frame(CLOSE, struct.pack("!H", 1000))
    client.send_frame(PING, b"late")
    client.send_text("late")
    with pytest.raises(Closed):
        client.recv_message()
    client.expect_end()


def test_a_client_that_hangs_up_in_the_middle_disturbs_nobody(echo):
    for cut in range(1, 9):
        with WsClient(echo) as client:
            client.send_raw(b"\x81\x85\x01\x02\x03\x04\x10\x20"[:cut])
    with WsClient(echo) as client:
        client.send_text("next")
        assert client.recv_message() == "next"
