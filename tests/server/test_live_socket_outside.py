"""The live socket on loopback, with the `websockets` package as its client: nothing of ours is at the other end."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
import trio
import websockets
from live_sockets import REHEARSED, started

from mob.protocol.speech import unpack_audio
from mob.rehearsal.voice import hear, speak
from mob.server.front.auth import Gatekeeper
from mob.server.front.port import Front
from mob.server.front.routes import Table
from mob.server.livesocket.socket import live_sockets
from mob.server.realm.realm import Realm, open_realm

pytestmark = pytest.mark.real_socket


async def outside(realm: Realm, client):
    """Run `client(url, token)`, a coroutine function of asyncio, in a thread, against a channel of this realm."""
    held = await realm.channels.open(await started(realm))
    async with trio.open_nursery() as nursery:
        front = Front(Table((), live_sockets(realm)), Gatekeeper(), realm.limits)
        listeners = await nursery.start(trio.serve_tcp, front.serve_stream, 0)
        port = listeners[0].socket.getsockname()[1]
        url = f"ws://127.0.0.1:{port}/live/ws?channel={held.channel_id}&format=pcm_24k_mono"
        with trio.fail_after(60):
            result = await trio.to_thread.run_sync(asyncio.run, client(url, held.mint_token()))
        await held.wait_closed()
        nursery.cancel_scope.cancel()
    return held, result


FULL = "&control=1&audio=binary&receipts=1"


async def plain(url, token):
    """As Meerkat's clients do it: chunks of JSON in, observations out."""
    async with websockets.connect(f"{url}&token={token}") as socket:
        assert json.loads(await socket.recv()) == {"observation": "ready"}
        await socket.send(json.dumps({"kind": "text", "text": "What time is it?"}))
        sound, frames = b"", []
        while not frames or frames[-1]["observation"] != "turn_completed":
            frames.append(json.loads(await socket.recv()))
            if frames[-1]["observation"] == "assistant_audio_chunk":
                sound += base64.b64decode(frames[-1]["data"])
        return sound


async def full(url, token):
    """With everything negotiated, and a socket that is torn in the middle of the answer."""
    sound, position = {}, 0
    async with websockets.connect(f"{url}{FULL}&token={token}") as socket:
        attached = json.loads(await socket.recv())
        await socket.send(speak("What time is it?"))
        await socket.send(json.dumps({"control": "commit", "id": 1}))
        while len(sound) < 3:
            message = await socket.recv()
            if isinstance(message, bytes):
                position, piece = unpack_audio(message, "")
                sound[position] = piece
            else:
                position = json.loads(message).get("seq", position)
        socket.transport.abort()
    back = f"{url}{FULL}&resume={attached['resume']}&after={position}"
    async with websockets.connect(back) as socket:
        again = json.loads(await socket.recv())
        assert again["seq"] == position
        while True:
            message = await socket.recv()
            if isinstance(message, bytes):
                position, piece = unpack_audio(message, "")
                sound[position] = piece
                played = piece.start_ms + len(piece.pcm) // 48
                await socket.send(
                    json.dumps({"control": "played", "item_id": piece.item_id, "audio_played_ms": played})
                )
                continue
            frame = json.loads(message)
            assert frame["observation"] not in ("gap", "audio_lost")
            if frame["observation"] == "turn_committed":
                await socket.send(json.dumps({"control": "close"}))
                turn = frame["turn"]
            if frame["observation"] == "disconnected" and frame["final"]:
                break
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            return b"".join(piece.pcm for _, piece in sorted(sound.items())), turn, closed.rcvd
        raise AssertionError("something came after the end")


async def test_a_plain_client_hears_what_the_history_says():
    async with open_realm(REHEARSED) as realm:
        held, sound = await outside(realm, plain)
        (turn,) = await realm.history(held.ref)
    assert hear(sound).startswith("I know the time.")
    assert turn.user_text == "What time is it?"
    assert held.reason == "client_disconnected"


async def test_a_client_speaks_is_torn_off_comes_back_and_reports_what_it_played():
    async with open_realm(REHEARSED) as realm:
        _, (sound, turn, closed) = await outside(realm, full)
    message = turn["items"][-1]
    assert hear(sound) == message["spoken_text"]
    assert message["fidelity"] == "exact"
    assert message["heard_ms"] == message["generated_ms"]
    assert closed.code == 1000
