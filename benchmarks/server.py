"""A server that costs next to nothing.

`python -m benchmarks.server` prints its port and lives until its standard input ends. It answers
the registration flow, and 400 to whoever does not send what the step before returned.
"""

import asyncio
import json
import sys

from benchmarks.processes import pin

_ANSWERS = {
    b"/auth/register": (
        b'"ada@example.com"',
        {"user": {"id": 42, "role": "member"}, "activation_token": "tok-5d41402abc4b2a76"},
    ),
    b"/auth/verify-email": (b'"tok-5d41402abc4b2a76"', {"status": "verified"}),
    b"/notifications/welcome": (b"42", {"email_id": "em-77aa"}),
    b"/one": (b"", {"ok": True}),
}


def _packed(status: bytes, value: object) -> bytes:
    body = json.dumps(value).encode()
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
        status,
        len(body),
    )
    return head + body


_WRONG = _packed(b"400 Bad Request", {"error": "that is not what was expected"})
_READY = {path: (needle, _packed(b"200 OK", value)) for path, (needle, value) in _ANSWERS.items()}


class Answering(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            size = end + 4 + _length(self.buffer[:end].lower())
            if len(self.buffer) < size:
                return
            path = self.buffer.split(b" ", 2)[1]
            needle, answer = _READY.get(path, (b"", _WRONG))
            self.transport.write(answer if needle in self.buffer[end:size] else _WRONG)
            self.buffer = self.buffer[size:]


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    pin(1)
    asyncio.run(serve())
