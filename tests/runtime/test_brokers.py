"""Messages out of real brokers: handed over, settled, left, buried (see tests/brokers.py for which)."""

import json
import sys

import anyio
import pytest

from runner.errors import SurroundingsError
from runner.runtime.brokers import REASON, SOURCE, Place, PoisonError, _whole, covers, source_of

pytestmark = pytest.mark.anyio
PATIENCE = 20


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"  # the brokers' clients know no other


class Taker:
    """Takes messages, once its gate is open; refuses those that say so."""

    def __init__(self):
        self.messages, self.gate, self.most, self.now = [], anyio.Event(), 0, 0
        self._more = anyio.Event()

    async def __call__(self, message):
        self.messages.append(message)
        self.now += 1
        self.most = max(self.most, self.now)
        self._more.set()
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        if message.headers.get("break"):
            raise ZeroDivisionError
        if b"poison" in message.body:
            raise PoisonError("it is\nnot möglich")
        return not message.headers.get("leave") or len(self.messages) > 1

    async def got(self, count):
        with anyio.fail_after(PATIENCE):
            while len(self.messages) < count:
                self._more = anyio.Event()
                await self._more.wait()


async def done(broker, call, *arguments):
    return await broker._connected(call, *arguments)


async def settled(broker):
    await anyio.to_thread.run_sync(broker.until_settled)


def place(broker, **more):
    return Place(broker.url, broker.name, broker.dead, **{"ack_wait": 1.0, **more})


def body(number):
    return json.dumps({"n": number}).encode()


async def test_messages_are_handed_over_whole_and_their_ids_differ(broker):
    taker = Taker()
    taker.gate.set()
    await done(broker, broker.publish, [(body(n), {"Kind": "x"}, f"m-{n}") for n in range(30)])
    source = source_of(place(broker))
    told = await source.connect()
    await source.start(taker)
    assert broker.name in told
    await taker.got(30)
    await settled(broker)
    assert not await source.is_broken()
    await source.stop()
    assert sorted(message.body for message in taker.messages) == sorted(body(n) for n in range(30))
    assert {message.headers["Kind"] for message in taker.messages} == {"x"}
    assert len({message.id for message in taker.messages}) == 30
    assert all(message.id.startswith(f"{broker.kind}:") for message in taker.messages)


async def test_no_more_are_held_than_are_allowed(broker):
    taker = Taker()
    await done(broker, broker.publish, [(body(n), {}, f"m-{n}") for n in range(25)])
    source = source_of(place(broker, in_flight=7, ack_wait=30.0))
    await source.connect()
    await source.start(taker)
    await taker.got(7)
    await anyio.sleep(0.3)  # in which an eighth would have come
    assert len(taker.messages) == 7
    assert await done(broker, broker.waiting) == 18
    taker.gate.set()
    await taker.got(25)
    await settled(broker)
    await source.stop()
    assert taker.most <= 7


async def test_what_is_left_comes_again_with_the_same_id(broker):
    taker = Taker()
    taker.gate.set()
    await done(broker, broker.publish, [(body(1), {"leave": "yes"}, "m-1")])
    source = source_of(place(broker))
    await source.connect()
    await source.start(taker)
    await taker.got(2)
    await settled(broker)
    await source.stop()
    assert len({message.id for message in taker.messages}) == 1


async def test_poison_is_buried_with_its_reason_and_bars_no_way(broker):
    taker = Taker()
    taker.gate.set()
    messages = [(b"poison \xff", {"Kind": "bad"}, "m-1"), (body(2), {}, "m-2")]
    await done(broker, broker.publish, messages)
    source = source_of(place(broker))
    await source.connect()
    await source.start(taker)
    await taker.got(2)
    await settled(broker)
    await source.stop()
    [(data, headers)] = await done(broker, broker.buried)
    assert data == b"poison \xff"
    assert headers["Kind"] == "bad"
    assert headers[REASON] == "it is not m\\xf6glich"
    assert headers[SOURCE] in {message.id for message in taker.messages}


async def test_a_fault_of_ours_loses_no_message(broker):
    taker = Taker()
    taker.gate.set()
    await done(broker, broker.publish, [(body(1), {"break": "yes"}, "m-1")])
    source = source_of(place(broker))
    await source.connect()
    await source.start(taker)
    await taker.got(2)
    await source.stop()
    assert len({message.id for message in taker.messages}) == 1


async def test_a_place_that_is_not_there_is_told(broker):
    if broker.kind == "redis":
        await done(broker, lambda client: client.set(broker.name, "text"))
    source = source_of(Place(broker.url, f"{broker.name}x" if broker.kind != "redis" else broker.name, "d"))
    with pytest.raises(SurroundingsError, match=r"no JetStream stream|no queue|is no stream"):
        await source.connect()
    await source.stop()


async def test_a_broker_that_is_not_there_is_told_without_its_password(broker):
    source = source_of(Place(f"{broker.kind}://ada:secret@127.0.0.1:1", "a", "b"))
    with pytest.raises(SurroundingsError) as caught:
        await source.connect()
    assert str(caught.value).startswith(f"the broker at {broker.kind}://127.0.0.1:1: ")
    assert "secret" not in str(caught.value)


async def test_kafka_hands_over_a_batch_and_buries_what_is_poison():
    # There is no Kafka to be had here: this is FastStream's stand-in for one, and proves only our part.
    from faststream.kafka import TestKafkaBroker

    taker, buried = Taker(), []
    taker.gate.set()
    source = source_of(Place("kafka://127.0.0.1:1", "orders", "orders.dead"))

    async def note(message):
        buried.append((message.body, dict(message.headers)))

    source._broker.subscriber("orders.dead", decoder=_whole)(note)
    async with TestKafkaBroker(source._broker) as broker:
        await source.start(taker)
        await broker.publish_batch(b"one", b"poison", topic="orders", headers={"Kind": "x"})
        assert not await source.is_broken()
        await source.stop()
    assert [message.body for message in taker.messages] == [b"one", b"poison"]
    assert all(message.id.startswith("kafka:orders:0:0:") for message in taker.messages)
    [(body, headers)] = buried
    assert (body, headers["Kind"], headers[REASON]) == (b"poison", "x", "it is not m\\xf6glich")


async def test_a_kafka_that_is_not_there_is_told():
    source = source_of(Place("kafka://127.0.0.1:1", "orders", "orders.dead"))
    with pytest.raises(SurroundingsError, match=r"the broker at kafka://127\.0\.0\.1:1: "):
        await source.connect()
    await source.stop()


async def test_packages_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faststream.redis", None)
    with pytest.raises(SurroundingsError, match=r"pip install 'flowspan-runner\[ingest\]'"):
        source_of(Place("redis://127.0.0.1:6379", "a", "b"))


async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(nats_port):
    source = source_of(Place(f"tls://127.0.0.1:{nats_port}", "orders", "orders.dead"))
    with pytest.raises(SurroundingsError, match="that server speaks no TLS"):
        await source.connect()
    await source.stop()


@pytest.mark.parametrize(
    ("pattern", "subject", "is_covered"),
    [
        ("a.b", "a.b", True), ("a.b", "a.c", False), ("a.*", "a.c", True), ("a.*", "a.b.dead", False),
        ("a.>", "a.dead", True), ("a.>", "a.b.c", True), ("a.>", "a", False), (">", "dead", True),
        ("*.b.>", "x.b.c", True), ("*.b.>", "x.c.b", False),
    ],
)  # fmt: skip
async def test_a_pattern_of_subjects_covers_what_it_says(pattern, subject, is_covered):
    assert covers(pattern, subject) is is_covered
