"""Vendors to call: ones that answer, and ones that misbehave. Run as `python -m bench.vendors <port>`.

/good/...      Cleeng's subscriptions: every one is active and without a coupon, until it is changed
/after/50/...  answers {"ok": true} after so many milliseconds, and notes when each request came
/hang/...      never answers
/500/...       answers at once that it has a problem
/trickle/...   sends a drop of its headers every half second

`GET /heard` returns the noted times, in seconds since 1970 by path, and forgets them.
"""

import asyncio
import json
import sys
import time
from typing import Any

FOR_EVER = 120.0  # seconds; longer than any attempt

heard: dict[str, float] = {}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request after the other, until the caller hangs up."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            _, _, rest = head.lower().partition(b"content-length:")
            body = await reader.readexactly(int(rest.split(b"\r\n", 1)[0] or 0))
            await answer(writer, method, path, body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def answer(writer: asyncio.StreamWriter, method: str, path: str, body: bytes) -> None:
    """Answer by the first part of the path, or not."""
    match path.split("/")[1:]:
        case ["hang", *_]:
            await asyncio.sleep(FOR_EVER)
        case ["trickle", *_]:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            for _ in range(int(FOR_EVER * 2)):
                writer.write(b"X-Drop: 1\r\n")
                await writer.drain()
                await asyncio.sleep(0.5)
        case ["500", *_]:
            send(writer, "500 Problem", {"errors": [{"message": "internal error"}]})
        case ["after", milliseconds, *_]:
            heard[path] = time.time()
            if milliseconds != "0":
                await asyncio.sleep(int(milliseconds) / 1000)
            send(writer, "200 OK", {"ok": True})
        case ["heard"]:
            send(writer, "200 OK", heard)
            heard.clear()
        case _:
            number = int(path.partition("?")[0].rsplit("/", 1)[1])
            subscription = {"subscriptionId": number, "status": "active", "offerId": "S1_US", "couponCode": None}
            if method == "PATCH":
                send(writer, "200 OK", {"success": True, "subscription": {**subscription, **json.loads(body)}})
            else:
                send(writer, "200 OK", subscription)


def send(writer: asyncio.StreamWriter, status: str, data: Any) -> None:
    """Send JSON."""
    raw = json.dumps(data).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    writer.write(head.encode() + raw)


async def main() -> None:
    """Listen until killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
