"""A conversation with the pusher by Python's websockets: python3 websockets_client.py URL, tokens as JSON in TOKENS.

A line on stdout asks the test for something; the exit code says whether all was as it should be.
"""
import asyncio
import json
import os
import sys

import websockets

URL = sys.argv[1]
TOKENS = json.loads(os.environ["TOKENS"])


def connect(token, query="", **options):
    offers = ["duebell.v1"] + (["bearer." + token] if token else [])
    return websockets.connect(URL + query, subprotocols=offers, max_size=1 << 20, ping_interval=None, **options)


async def message(ws, kind):
    text = await ws.recv()
    assert isinstance(text, str), "a binary message"
    m = json.loads(text)
    assert m["type"] == kind, f"{text[:200]} instead of {kind}"
    return m


async def ended(ws):
    try:
        while True:
            await ws.recv()
    except websockets.ConnectionClosed:
        return ws.close_code, ws.close_reason


def ask(what):
    print(what, flush=True)


async def converse():
    # Hello, a change as it happens, and one by this client.
    async with connect(TOKENS["user"]) as ws:
        hello = await message(ws, "hello")
        assert (hello["user"], hello["rev"], hello["unread"], hello["total"]) == ("client", 0, 0, 0), hello
        assert ws.subprotocol == "duebell.v1"
        assert ws.extensions == [], "compression is offered and not agreed on"
        ask("tell")
        told = await message(ws, "changes")
        assert (told["from"], told["rev"], told["unread"], len(told["items"])) == (0, 1, 1, 1), told
        body = told["items"][0]["body"]
        assert len(body) > 65536 and body.endswith("κόσμε 🚀"), "a body with a 64-bit length and all of UTF-8"
        await ws.send(json.dumps({"type": "read", "ids": [told["items"][0]["id"]], "ref": "r1"}))
        both = {}  # in either order
        for _ in range(2):
            m = json.loads(await ws.recv())
            both[m["type"]] = m
        assert both["ok"]["ref"] == "r1"
        assert (both["changes"]["from"], both["changes"]["rev"], both["changes"]["unread"]) == (1, 2, 0), both

        # A ping, and a message in fragments.
        await (await ws.ping(b"are you there"))
        await ws.send(['{"type":"pi', 'ng","ref":"in', ' pieces"}'])
        assert (await message(ws, "ok"))["ref"] == "in pieces"

        # The token is renewed; nonsense is refused and the old one stays.
        await ws.send(json.dumps({"type": "auth", "token": TOKENS["renewed"], "ref": "a1"}))
        assert (await message(ws, "ok"))["ref"] == "a1"
        await ws.send(json.dumps({"type": "auth", "token": "nonsense", "ref": "a2"}))
        refused = await message(ws, "error")
        assert (refused["ref"], refused["code"]) == ("a2", "unauthorized"), refused
        await ws.close(1000, "bye")
        assert ws.close_code == 1000, ws.close_code

    # Resumed from the start, and with the token in the header.
    header = {"Authorization": "Bearer " + TOKENS["user"]}
    async with connect("", f"?rev=0&epoch={hello['epoch']}", extra_headers=header) as ws:
        await message(ws, "hello")
        missed = await message(ws, "changes")
        assert (missed["from"], missed["rev"], len(missed["items"])) == (0, 2, 1), missed

    # How it ends.
    for code, token, send in [
        (4401, "nonsense", None),
        (4401, TOKENS["expired"], None),
        (4401, "", None),
        (4400, TOKENS["user"], "not JSON"),
        (4400, TOKENS["user"], '{"type":"unknown"}'),
        (4403, TOKENS["user"], json.dumps({"type": "auth", "token": TOKENS["other"]})),
        (1003, TOKENS["user"], b"\x01\x02\x03"),
        (1009, TOKENS["user"], "x" * 70_000),
    ]:
        async with connect(token) as ws:
            if send is not None:
                await ws.send(send)
            got, reason = await ended(ws)
            assert got == code and reason, f"{got} {reason!r} instead of {code}"

    # Sent away.
    async with connect(TOKENS["user"]) as ws:
        await message(ws, "hello")
        ask("drain")
        assert (await message(ws, "goaway"))["reconnect_ms"] >= 0
        got, _ = await ended(ws)
        assert got == 1012, got


asyncio.run(converse())
