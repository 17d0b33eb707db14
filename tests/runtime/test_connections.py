import asyncio
import threading

import anyio
import pytest

from runner.core.commands import NoResponse, Request, Response, SendRequest
from runner.runtime.connections import Network
from runner.runtime.http import HttpClient, HttpSettings, Transport
from tests.servers import HOST, PATIENCE, ApiServer, Loopback, Reply, echo, head

pytestmark = pytest.mark.anyio


class Counting(Loopback):
    """Answers every first read of a connection, keeps it, and knows which connections have ended."""

    def __init__(self):
        super().__init__()
        self.read = []
        self.ended = []
        self._change = threading.Condition()

    async def serve(self, reader, writer, connection):
        while data := await reader.read(2**20):
            self.read.append(data)
            writer.write(head(200, [("Content-Length", "0")]))
        self.end(connection)

    def end(self, connection):
        """Note that a connection has ended."""
        with self._change:
            self.ended.append(connection)
            self._change.notify_all()

    def wait_for_end(self, *connections):
        """Wait until these connections have ended; tells which have."""
        with self._change:
            self._change.wait_for(lambda: set(connections) <= set(self.ended), PATIENCE)
            return sorted(self.ended)


@pytest.fixture
def server():
    with Counting() as server:
        yield server


def sending(url, method="GET", body=None, timeout=20.0):
    return SendRequest(Request(method, url, (), body), timeout)


async def test_a_request_travels_in_one_piece_with_its_body(server):
    async with Transport() as transport:
        reply = await HttpClient(transport).send(sending(server.url(), "POST", b"x" * 10_000))
    assert isinstance(reply, Response)
    assert server.read[0].endswith(b"\r\n\r\n" + b"x" * 10_000)


async def test_a_large_body_arrives_whole(api):
    async with Transport() as transport:
        body = bytes(range(256)) * 4096
        reply = await HttpClient(transport).send(sending(api.url(), "POST", body, timeout=20))
    assert reply.status == 200
    assert api.requests[0].body == body


class Unread(Loopback):
    """Reads nothing."""

    async def serve(self, reader, writer, connection):
        reader._transport.pause_reading()
        await asyncio.Event().wait()


async def test_a_body_that_the_server_does_not_take_is_told_apart_from_an_answer_that_does_not_come():
    with Unread() as server:
        async with Transport() as transport:
            reply = await HttpClient(transport).send(sending(server.url(), "POST", b"x" * 2**24, timeout=0.5))
    assert isinstance(reply, NoResponse)
    assert reply.message.startswith("the request could not be sent whole within 0.5 s")


async def test_an_idle_connection_is_closed_when_another_needs_its_place(server):
    async with Transport(HttpSettings(max_connections=2)) as transport:
        client = HttpClient(transport)
        with ApiServer(echo) as one, ApiServer(echo) as two:
            await client.send(sending(server.url()))
            await client.send(sending(one.url()))
            assert server.ended == []
            await client.send(sending(two.url()))
            assert await anyio.to_thread.run_sync(server.wait_for_end, 1) == [1]
            await client.send(sending(one.url()))
            assert (one.connections, two.connections) == (1, 1)


async def test_an_idle_connection_is_closed_after_a_while_by_whatever_is_sent_next(server, api):
    async with Transport(HttpSettings(keepalive=0.05)) as transport:
        client = HttpClient(transport)
        await client.send(sending(server.url()))
        await anyio.sleep(0.1)
        await client.send(sending(api.url()))
        assert await anyio.to_thread.run_sync(server.wait_for_end, 1) == [1]


async def test_what_is_idle_is_kept_when_the_others_are_tidied_away(api):
    async with Transport(HttpSettings(keepalive=0.3)) as transport:
        client = HttpClient(transport)
        await client.send(sending(api.url()))
        await anyio.sleep(0.2)
        await client.send(sending(api.url()))
        await anyio.sleep(0.2)
        await client.send(sending(api.url("/late")))
    assert api.connections == 1


async def test_closing_ends_what_is_idle_now_and_what_is_at_work_when_it_is_done(server):
    with ApiServer(lambda _: Reply()) as api:
        gate = api.hold("/held")
        async with anyio.create_task_group() as group:
            async with Transport() as transport:
                client = HttpClient(transport)
                await client.send(sending(server.url()))
                group.start_soon(client.send, sending(api.url("/held")))
                await gate.arrived(1)
            assert await anyio.to_thread.run_sync(server.wait_for_end, 1) == [1]
            gate.release()
        assert transport.connections._count == 0


class Silent(Counting):
    """Never answers, and says when something has come."""

    def __init__(self):
        super().__init__()
        self.heard = threading.Event()

    async def serve(self, reader, writer, connection):
        while await reader.read(2**16):
            self.heard.set()
        self.end(connection)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_request_that_is_cut_off_leaves_no_connection_behind(scheme):
    with Silent() as server:
        async with Transport() as transport:
            async with anyio.create_task_group() as group:
                group.start_soon(HttpClient(transport).send, sending(f"{scheme}://{HOST}:{server.port}/"))
                await anyio.to_thread.run_sync(server.heard.wait, PATIENCE)
                group.cancel_scope.cancel()
            assert await anyio.to_thread.run_sync(server.wait_for_end, 1) == [1]
            assert transport.connections._count == 0


async def test_a_stream_tells_of_tls_only_where_there_is_some(api):
    stream = await Network().connect_tcp(HOST, api.port)
    assert stream.get_extra_info("ssl_object") is None
    assert stream.get_extra_info("server_addr") == (HOST, api.port)
    assert stream.get_extra_info("client_addr") is None
    assert not stream.get_extra_info("is_readable")
    await stream.aclose()


async def test_a_stream_that_is_closed_cannot_be_used(api):
    from runner.runtime.library import httpcore

    stream = await Network().connect_tcp(HOST, api.port)
    await stream.aclose()
    await stream.write(b"x")
    with pytest.raises(httpcore.WriteError):
        await stream.write(b"x" * 2**16)
    with pytest.raises(httpcore.ReadError):
        await stream.read(1)
