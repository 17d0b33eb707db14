"""The brokers that messages come from, through FastStream: NATS JetStream, RabbitMQ, Redis streams, Kafka.

Each source hands messages to `take`, settles them by what comes of it, and never holds more than
`in_flight` of them. What it buries is in the broker's hands before the message is let go of. Nothing of
the user's is changed: where messages come from must be there; the dead-letter place is made if it is not.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import anyio

from runner.errors import SurroundingsError

INSTALL: Final = "pip install 'flowspan-runner[ingest]'"
REASON: Final = "flowspan-reason"
SOURCE: Final = "flowspan-source"
_BUG_PAUSE: Final = 1.0
_CONNECT: Final = 10.0
_FETCH: Final = 5.0
_KAFKA: Final = 9092
_LONGEST_REASON: Final = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `id` is what the broker knows it by, for as long as it is there; None: it has none."""

    body: bytes
    headers: Mapping[str, str]
    id: str | None


class PoisonError(Exception):
    """A message that can never become a run; its text is the reason, fit for a header."""

    def __init__(self, reason: str) -> None:
        plain = " ".join(reason.split()).encode("ascii", "backslashreplace").decode("ascii")
        super().__init__(plain[:_LONGEST_REASON])


Take = Callable[[Message], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where messages come from, and how many are held at a time.

    `name` is a subject, queue, stream or topic; `group` what several processes share it by. A message that
    is not settled within `ack_wait` seconds is handed out again (NATS, Redis).
    """

    url: str
    name: str
    dead: str
    group: str = "flowspan"
    in_flight: int = 100
    ack_wait: float = 30.0


class Source(Protocol):
    """Where messages come from."""

    async def connect(self) -> str:
        """Find where messages come from; returns what it is, for people. Raises SurroundingsError."""

    async def start(self, take: Take) -> None:
        """Begin to hand messages to `take`, once connected. Raises SurroundingsError."""

    async def is_broken(self) -> bool:
        """Tell whether no message will come any more."""

    async def stop(self) -> None:
        """Take no more messages; return when those at hand are settled."""


def source_of(place: Place) -> Source:
    """Return the source for the kind of url; raises SurroundingsError when its packages are missing."""
    for name in ("aio_pika", "aiokafka", "aiormq", "faststream", "nats"):
        logging.getLogger(name).addHandler(logging.NullHandler())  # else it goes to our stderr
    kind = KINDS[urlsplit(place.url).scheme]
    try:
        source: Source = kind(place)
    except ImportError as error:
        raise SurroundingsError(f"'runner ingest' needs more packages: {INSTALL}") from error
    return source


async def _settle(
    take: Take,
    message: Message,
    ack: Callable[[], Awaitable[object]],
    leave: Callable[[], Awaitable[object]],
    bury: Callable[[Mapping[str, str]], Awaitable[object]],
) -> bool:
    """Hand a message over and settle it; False when it is left to be handed out again."""
    try:
        try:
            is_taken = await take(message)
        except PoisonError as poison:
            await bury({REASON: str(poison), SOURCE: message.id or ""})
            log.warning("a message was buried: %s", poison)
            is_taken = True
        await (ack if is_taken else leave)()
    except Exception as error:  # noqa: BLE001 - whatever it is, the message is to come again
        log.warning("a message could not be settled, and comes again: %s", type(error).__name__)
        await anyio.sleep(_BUG_PAUSE)
        with suppress(Exception):
            await leave()
        return False
    return is_taken


async def _whole(message: Any) -> Any:  # noqa: ANN401 - FastStream's messages, which our handlers take whole
    return message


async def _nothing() -> None:
    """Leave a message as it is: the broker hands it out again."""


def _texts(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """Return those headers that are texts, or can be written as one."""
    found: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if isinstance(value, bytes):
            with suppress(UnicodeDecodeError):
                found[name] = value.decode("utf-8")
        elif isinstance(value, str | int | float):
            found[name] = str(value)
    return found


class _Connecting:
    """Tells what is wrong with a broker in one line, without the url's password."""

    def __init__(self, place: Place) -> None:
        parts = urlsplit(place.url)
        self._where = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    async def do(self, call: Awaitable[Any]) -> Any:  # noqa: ANN401 - what FastStream returns
        try:
            with anyio.fail_after(_CONNECT):
                return await call
        except SurroundingsError:
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise SurroundingsError(f"the broker at {self._where}: {reason}") from error


class NatsSource:
    """A subject of a JetStream stream, by a durable consumer that the group is the name of."""

    def __init__(self, place: Place) -> None:
        from faststream.nats import NatsBroker
        from faststream.security import BaseSecurity

        self._place = place
        self._wants_tls = urlsplit(place.url).scheme == "tls"
        context = ssl.create_default_context() if self._wants_tls else None
        security = BaseSecurity(ssl_context=context, use_ssl=self._wants_tls)
        self._broker = NatsBroker(place.url, logger=None, max_reconnect_attempts=1, security=security)
        self._client: Any = None
        self._js: Any = None
        self._stream = ""

    async def connect(self) -> str:
        """Find where messages come from."""
        return str(await _Connecting(self._place).do(self._connect()))

    async def start(self, take: Take) -> None:
        """Begin to hand messages over."""
        await _Connecting(self._place).do(self._start(take))

    async def _connect(self) -> str:
        place = self._place
        self._client = await self._broker.connect()
        self._client.options["max_reconnect_attempts"] = -1  # from now on, but not for the first time
        # Its client takes a server without TLS all the same, whatever the scheme says.
        if self._wants_tls and not self._client._server_info.get("tls_required"):  # noqa: SLF001
            raise SurroundingsError("that server speaks no TLS; nats:// is without")
        self._js = self._client.jetstream()
        stream = await self._stream_of(place.name)
        if stream is None:
            raise SurroundingsError(f"no JetStream stream on that server has the subject {place.name!r}")
        await self._make_dead_place()
        await self._js.add_consumer(stream, self._consumer())
        self._stream = stream
        return f"subject {place.name} of stream {stream}"

    async def _start(self, take: Take) -> None:
        from faststream import AckPolicy
        from faststream.nats import JStream, PullSub

        place = self._place

        async def handle(delivered: Any) -> None:  # noqa: ANN401
            raw = delivered.raw_message
            await _settle(take, _nats_message(raw), delivered.ack, delivered.nack, self._burier(raw))

        self._broker.subscriber(
            place.name,
            durable=place.group,
            config=self._consumer(),
            stream=JStream(self._stream, declare=False),
            pull_sub=PullSub(batch_size=place.in_flight, timeout=_FETCH),
            ack_policy=AckPolicy.MANUAL,
            decoder=_whole,
        )(handle)
        await self._broker.start()

    def _consumer(self) -> Any:  # noqa: ANN401 - of nats-py
        from nats.js.api import AckPolicy, ConsumerConfig

        place = self._place
        return ConsumerConfig(
            durable_name=place.group, filter_subject=place.name, ack_policy=AckPolicy.EXPLICIT,
            ack_wait=place.ack_wait, max_ack_pending=place.in_flight,
        )  # fmt: skip

    async def _stream_of(self, subject: str) -> str | None:
        from nats.js.errors import NotFoundError

        try:
            return str(await self._js.find_stream_name_by_subject(subject))
        except NotFoundError:
            return None

    async def _make_dead_place(self) -> None:
        dead = self._place.dead
        if await self._stream_of(dead) is None:
            await self._js.add_stream(name=dead.replace(".", "_"), subjects=[dead])

    def _burier(self, raw: Any) -> Callable[[Mapping[str, str]], Awaitable[object]]:  # noqa: ANN401
        async def bury(told: Mapping[str, str]) -> None:
            headers = {**(raw.headers or {}), **told}
            await self._js.publish(self._place.dead, raw.data, headers=headers)

        return bury

    async def is_broken(self) -> bool:
        """Tell whether the stream or our consumer was taken away: its client would ask for ever."""
        from nats.js.errors import NotFoundError

        with anyio.move_on_after(_FETCH), suppress(Exception):
            try:
                await self._js.consumer_info(self._stream, self._place.group)
            except NotFoundError:
                return True
        return bool(self._client.is_closed)

    async def stop(self) -> None:
        """Take no more messages."""
        await self._broker.stop()


def _nats_message(raw: Any) -> Message:  # noqa: ANN401
    about = raw.metadata
    # With the time, because a stream that was made anew counts from 1 again.
    at = f"{about.timestamp.timestamp():.6f}"
    name = f"nats:{about.stream}:{about.sequence.stream}:{at}"
    return Message(raw.data, _texts(raw.headers), name)


def covers(pattern: str, subject: str) -> bool:
    """Tell whether a subject of NATS, in which ``*`` and ``>`` may stand for others, covers another."""
    wanted, found = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(found) >= len(wanted) and covers(".".join(wanted[:-1]), ".".join(found[: len(wanted) - 1]))
    return len(wanted) == len(found) and all(
        one in ("*", other) for one, other in zip(wanted, found, strict=True)
    )


class RabbitSource:
    """A queue of RabbitMQ."""

    def __init__(self, place: Place) -> None:
        from faststream.rabbit import Channel, RabbitBroker

        self._place = place
        self._broker = RabbitBroker(
            place.url, logger=None, default_channel=Channel(prefetch_count=place.in_flight)
        )
        self._connection: Any = None
        self._channel: Any = None

    async def connect(self) -> str:
        """Find where messages come from."""
        return str(await _Connecting(self._place).do(self._connect()))

    async def start(self, take: Take) -> None:
        """Begin to hand messages over."""
        await _Connecting(self._place).do(self._start(take))

    async def _connect(self) -> str:
        place = self._place
        self._connection = await self._broker.connect()
        if not await self._is_there(place.name):
            raise SurroundingsError(f"there is no queue {place.name!r} on that server")
        self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        if not await self._is_there(place.dead):
            await self._channel.declare_queue(place.dead, durable=True)
        return f"queue {place.name}"

    async def _start(self, take: Take) -> None:
        from faststream import AckPolicy
        from faststream.rabbit import RabbitQueue

        place = self._place

        async def handle(delivered: Any) -> None:  # noqa: ANN401
            raw = delivered.raw_message
            name = None if raw.message_id is None else f"amqp:{place.name}:{raw.message_id}"
            message = Message(raw.body, _texts(raw.headers), name)
            await _settle(take, message, delivered.ack, delivered.nack, self._burier(raw))

        queue = RabbitQueue(place.name, declare=False)
        self._broker.subscriber(queue, ack_policy=AckPolicy.MANUAL, decoder=_whole)(handle)
        await self._broker.start()

    async def _is_there(self, queue: str) -> bool:
        from aio_pika.exceptions import ChannelNotFoundEntity

        channel = await self._connection.channel()
        try:
            await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            return False
        await channel.close()
        return True

    def _burier(self, raw: Any) -> Callable[[Mapping[str, str]], Awaitable[object]]:  # noqa: ANN401
        async def bury(told: Mapping[str, str]) -> None:
            from aio_pika import DeliveryMode
            from aio_pika import Message as Outgoing

            outgoing = Outgoing(
                raw.body, headers={**raw.headers, **told}, content_type=raw.content_type,
                message_id=raw.message_id, delivery_mode=DeliveryMode.PERSISTENT,
            )  # fmt: skip
            await self._channel.default_exchange.publish(outgoing, self._place.dead, mandatory=True)

        return bury

    async def is_broken(self) -> bool:
        """Tell whether the connection was given up."""
        return bool(self._connection.is_closed)

    async def stop(self) -> None:
        """Take no more messages."""
        await self._broker.stop()


class RedisSource:
    """A stream of Redis, by a consumer group; what dead consumers have left is claimed."""

    def __init__(self, place: Place) -> None:
        from faststream.redis import RedisBroker

        self._place = place
        quiet: Any = None  # its type does not say that there may be none
        self._broker = RedisBroker(place.url, logger=quiet)
        self._client: Any = None
        self._subscribers: list[Any] = []
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"

    async def connect(self) -> str:
        """Find where messages come from."""
        return str(await _Connecting(self._place).do(self._connect()))

    async def start(self, take: Take) -> None:
        """Begin to hand messages over."""
        await _Connecting(self._place).do(self._start(take))

    async def _connect(self) -> str:
        place = self._place
        self._client = await self._broker.connect()
        if await self._client.type(place.name) not in (b"stream", b"none"):
            raise SurroundingsError(f"{place.name!r} is no stream on that server")
        await self._make_group()
        return f"stream {place.name}"

    async def _start(self, take: Take) -> None:
        from faststream import AckPolicy
        from faststream.redis import StreamSub

        place = self._place

        async def handle(delivered: Any) -> None:  # noqa: ANN401
            await self._settle_all(take, delivered.raw_message)

        own: Any = StreamSub(
            place.name, group=place.group, consumer=self._consumer, last_id=">", batch=True,
            max_records=place.in_flight, polling_interval=1000,
        )  # fmt: skip
        left: Any = StreamSub(
            place.name, group=place.group, consumer=self._consumer, last_id=">", batch=True,
            min_idle_time=round(place.ack_wait * 1000), polling_interval=1000,
        )  # fmt: skip
        for stream in (own, left):
            subscriber: Any = self._broker.subscriber(
                stream=stream, ack_policy=AckPolicy.MANUAL, parser=_without_parsing, decoder=_whole
            )
            subscriber(handle)
            self._subscribers.append(subscriber)
        await self._broker.start()

    async def _make_group(self) -> None:
        from redis.exceptions import ResponseError

        try:
            # From the first entry on: what was there before the group is not to be lost.
            await self._client.xgroup_create(self._place.name, self._place.group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _settle_all(self, take: Take, raw: Mapping[str, Any]) -> None:
        async with anyio.create_task_group() as group:
            for number, fields in zip(raw["message_ids"], raw["fields"], strict=True):
                group.start_soon(self._settle_one, take, number, fields)

    async def _settle_one(self, take: Take, number: bytes, fields: Mapping[bytes, bytes]) -> None:
        place = self._place

        async def ack() -> None:
            await self._client.xack(place.name, place.group, number)

        async def bury(told: Mapping[str, str]) -> None:
            await self._client.xadd(place.dead, dict(fields) | {name.encode(): told[name] for name in told})

        message = Message(*_entry(fields), f"redis:{place.name}:{number.decode()}")
        await _settle(take, message, ack, _nothing, bury)

    async def is_broken(self) -> bool:
        """Tell whether the group or the stream was taken away."""
        return not all(subscriber.running for subscriber in self._subscribers)

    async def stop(self) -> None:
        """Take no more messages; the name of this consumer goes when it has left none."""
        for subscriber in self._subscribers:
            await subscriber.stop()
        with suppress(Exception):
            place = self._place
            left = await self._client.xpending_range(
                place.name, place.group, "-", "+", 1, consumername=self._consumer
            )
            if not left:
                await self._client.xgroup_delconsumer(place.name, place.group, self._consumer)
        await self._broker.stop()


async def _without_parsing(raw: dict[str, Any], parse: Callable[..., Awaitable[Any]]) -> Any:  # noqa: ANN401
    """Keep an entry's fields as they are: FastStream would take some for its own, and fail at others."""
    return await parse({**raw, "data": [{b"__data__": b""} for _ in raw["data"]], "fields": raw["data"]})


def _entry(fields: Mapping[bytes, bytes]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of an entry: its field `data`, and all others.

    An entry of FastStream has one field, with both in it.
    """
    from faststream.redis.parser import BinaryMessageFormatV1

    rest = dict(fields)
    if (envelope := rest.pop(b"__data__", None)) is not None:
        body, headers = BinaryMessageFormatV1.parse(envelope)
        return body, _texts(headers)
    body = rest.pop(b"data", b"")
    return body, _texts({name.decode("utf-8", "replace"): value for name, value in rest.items()})


class KafkaSource:
    """A topic of Kafka. Not proven: no test of ours has met a real Kafka yet."""

    def __init__(self, place: Place) -> None:
        from faststream.kafka import KafkaBroker

        self._place = place
        self._servers = urlsplit(place.url).netloc.split(",")
        self._broker = KafkaBroker(self._servers, logger=None)
        self._subscriber: Any = None

    async def connect(self) -> str:
        """Find where messages come from."""
        return str(await _Connecting(self._place).do(self._connect()))

    async def start(self, take: Take) -> None:
        """Begin to hand messages over."""
        await _Connecting(self._place).do(self._start(take))

    async def _connect(self) -> str:
        first = urlsplit(f"//{self._servers[0]}")
        # Its client leaves something open, and says so, when nobody is there.
        async with await anyio.connect_tcp(first.hostname or "", first.port or _KAFKA):
            await self._broker.connect()
        return f"topic {self._place.name}"

    async def _start(self, take: Take) -> None:
        from faststream import AckPolicy

        place = self._place

        async def handle(delivered: Any) -> None:  # noqa: ANN401
            settled: list[bool] = []
            async with anyio.create_task_group() as group:
                for record in delivered.raw_message:
                    group.start_soon(self._settle_one, take, record, settled)
            # Offsets are acknowledged up to a place, so that all of the batch comes again or none.
            await (delivered.ack if all(settled) else delivered.nack)()

        self._subscriber = self._broker.subscriber(
            place.name, group_id=place.group, batch=True, max_records=place.in_flight,
            auto_offset_reset="earliest", ack_policy=AckPolicy.MANUAL, decoder=_whole,
        )  # fmt: skip
        self._subscriber(handle)
        await self._broker.start()

    async def _settle_one(self, take: Take, record: Any, settled: list[bool]) -> None:  # noqa: ANN401
        async def bury(told: Mapping[str, str]) -> None:
            headers = {**_texts(dict(record.headers)), **told}
            await self._broker.publish(record.value or b"", self._place.dead, headers=headers)

        # With the time, because a topic that was made anew counts from 0 again.
        name = f"kafka:{record.topic}:{record.partition}:{record.offset}:{record.timestamp}"
        message = Message(record.value or b"", _texts(dict(record.headers)), name)
        settled.append(await _settle(take, message, _nothing, _nothing, bury))

    async def is_broken(self) -> bool:
        """Tell whether the subscription was given up."""
        return not self._subscriber.running

    async def stop(self) -> None:
        """Take no more messages."""
        await self._broker.stop()


KINDS: Final[Mapping[str, Callable[[Place], Source]]] = {
    "nats": NatsSource, "tls": NatsSource,
    "amqp": RabbitSource, "amqps": RabbitSource,
    "redis": RedisSource, "rediss": RedisSource,
    "kafka": KafkaSource,
}  # fmt: skip
