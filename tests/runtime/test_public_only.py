import json
import socket

import anyio
import pytest

import runner
from runner.core.commands import NoResponse, Request, Response, SendRequest
from runner.runtime.connections import Network
from runner.runtime.http import HttpClient, HttpSettings, Transport
from runner.runtime.policy import ProxyRouter, ProxyRules
from runner.runtime.public_only import is_public, system_resolver
from runner.runtime.router import HostRouter, HostRules, read_rules
from runner.runtime.tls import TlsOptions
from tests.servers import Reply, TlsServer, echo

pytestmark = pytest.mark.anyio
PUBLIC = "93.184.216.34"
OTHER = "2606:2800:220:1::1"


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
        *("192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
        *("239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1", "::7f00:1", "::127.0.0.1"),
        *("64:ff9b::a00:1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1"),
        *("2001::1", "2001:0:a00:1::1", "2001:db8::1", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1"),
        *("fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
        *("", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "1.2.3.4.5"),
    ],
)
def test_an_address_that_is_not_of_the_public_internet_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
        ),
        *("192.0.1.1", "192.167.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.255", PUBLIC),
        *("2606:4700::1111", "2a00::1", "3ffe::1", "::ffff:1.1.1.1", "64:ff9b::101:101"),
    ],
)
def test_an_address_of_the_public_internet_is_public(address):
    assert is_public(address)


class Names:
    """A name server whose answers change: one list of addresses after the other, the last one stays."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Internet(Network):
    """Stands for the network beyond the loopback address: keeps where to, and connects to `port` here."""

    def __init__(self, port, unreachable=()):
        self.port, self.unreachable = port, unreachable
        self.connected = []

    async def connect_tcp(self, host, port, *options):
        self.connected.append((host, port))
        there = 1 if host in self.unreachable else self.port  # nobody listens on the first
        return await super().connect_tcp("127.0.0.1", there, *options)


class Opened:
    """A client that connects to public addresses only, with a name server and an internet of its own."""

    def __init__(self, names, port, *, settings=None, maps=(), unreachable=()):
        self.internet = Internet(port, unreachable)
        self.transport = Transport(settings, resolve=names, network=self.internet)
        rules, _ = read_rules(maps, [], deny_private=True, proxies=ProxyRules())
        self.client = HttpClient(self.transport, router=HostRouter(rules, ProxyRouter(ProxyRules())))

    @property
    def connected(self):
        return self.internet.connected

    async def get(self, url):
        return await self.client.send(SendRequest(Request("GET", url), 5.0))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.transport.aclose()


async def test_the_connection_goes_to_the_checked_address_and_the_request_stays_as_it_is(api):
    names = Names([PUBLIC])
    async with Opened(names, api.port) as opened:
        reply = await opened.get("http://a.example:8080/x")
    assert isinstance(reply, Response), reply
    assert ["Host", "a.example:8080"] in json.loads(reply.body)["headers"]
    assert opened.connected == [(PUBLIC, 8080)]
    assert names.asked == [("a.example", 8080)]


async def test_over_tls_the_certificate_is_still_that_of_the_name(authority):
    settings = HttpSettings(tls=TlsOptions(cacert=authority.ca_file))
    with TlsServer(authority, echo, names=("a.example",)) as server:
        async with Opened(Names([PUBLIC]), server.port, settings=settings) as opened:
            assert (await opened.get("https://a.example/")).status == 200
            other = await opened.get("https://b.example/")
        assert server.server_names == ["a.example", "b.example"]
    assert (other.code, opened.connected) == ("http.tls", [(PUBLIC, 443), (PUBLIC, 443)])


async def test_a_name_is_looked_up_once_for_each_new_connection(api):
    names = Names([PUBLIC], ["127.0.0.1"])
    async with Opened(names, api.port) as opened:
        for _ in range(3):
            assert (await opened.get("http://a.example/")).status == 200
        assert len(names.asked) == 1
        assert api.connections == 1


async def test_a_name_that_leads_inwards_the_second_time_is_refused(api):
    api.on("/", echo)
    names = Names([PUBLIC], ["127.0.0.1"])
    settings = HttpSettings(keepalive=0.0)
    async with Opened(names, api.port, settings=settings) as opened:
        assert (await opened.get("http://a.example/")).status == 200
        refused = await opened.get("http://a.example/")
    assert isinstance(refused, NoResponse)
    assert (refused.phase, refused.code, refused.error_type) == ("unsent", "http.refused", "http.refused")
    assert refused.message == ("the address 127.0.0.1 of a.example is not public; --deny-private refuses it")
    assert opened.connected == [(PUBLIC, 80)]


async def test_one_private_address_among_public_ones_is_enough_to_be_refused(api):
    async with Opened(Names([PUBLIC, "10.0.0.1"]), api.port) as opened:
        assert (await opened.get("http://a.example/")).code == "http.refused"
    assert opened.connected == []


async def test_addresses_are_tried_one_after_the_other(api):
    async with Opened(Names([OTHER, PUBLIC]), api.port, unreachable=[OTHER]) as opened:
        assert (await opened.get("http://a.example/")).status == 200
    assert opened.connected == [(OTHER, 80), (PUBLIC, 80)]


async def test_when_no_address_answers_the_last_trouble_is_told(api):
    async with Opened(Names([PUBLIC]), api.port, unreachable=[PUBLIC]) as opened:
        reply = await opened.get("http://a.example/")
    assert (reply.phase, reply.code) == ("unsent", "http.connect")
    assert reply.message.startswith("no connection to a.example:80")


async def test_a_name_without_an_address_is_told_in_words(api):
    async with Opened(Names([]), api.port) as opened:
        reply = await opened.get("http://a.example/")
    assert (reply.code, reply.message) == ("http.dns", "name not resolved: a.example:80")


async def test_a_resolver_that_answers_nonsense_opens_no_door(api):
    async with Opened(Names(["127.0.0.1 "]), api.port) as opened:
        assert (await opened.get("http://a.example/")).code == "http.refused"
    assert opened.connected == []


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1", "0.0.0.0"],
)
async def test_every_spelling_of_this_machine_is_refused(api, host):
    async with Transport() as transport:
        router = HostRouter(HostRules(deny_private=True), transport.router)
        client = HttpClient(transport, router=router)
        reply = await client.send(SendRequest(Request("GET", f"http://{host}:{api.port}/"), 5.0))
    assert (reply.phase, reply.code) == ("unsent", "http.refused"), reply
    assert api.connections == 0


async def test_a_checked_run_uses_no_connection_of_an_unchecked_one(api):
    async with Transport() as transport:
        open_to_all = HttpClient(transport)
        assert (await open_to_all.send(SendRequest(Request("GET", api.url()), 5.0))).status == 200
        url = f"http://localhost:{api.port}/"
        assert (await open_to_all.send(SendRequest(Request("GET", url), 5.0))).status == 200
        router = HostRouter(HostRules(deny_private=True), transport.router)
        reply = await HttpClient(transport, router=router).send(SendRequest(Request("GET", url), 5.0))
    assert reply.code == "http.refused"


async def test_the_system_tells_each_address_once():
    assert set(await system_resolver("localhost", 80)) <= {"127.0.0.1", "::1"}
    assert await system_resolver("127.0.0.1", 80) == ["127.0.0.1"]
    with pytest.raises(socket.gaierror):
        await system_resolver("no-such-host.invalid", 80)


async def test_a_lookup_that_takes_too_long_ends_with_the_attempt(api):
    async def asleep(host, port):
        await anyio.sleep_forever()

    async with Opened(asleep, api.port) as opened:
        reply = await opened.client.send(SendRequest(Request("GET", "http://a.example/"), 0.05))
    assert (reply.phase, reply.code) == ("unsent", "http.timeout")


async def test_a_redirect_and_a_token_that_lead_inwards_are_refused_in_a_run(api):
    class Zone:
        async def __call__(self, host, port):
            return ["127.0.0.1"] if host == "inside.example" else [PUBLIC]

    api.on("/away", Reply(302, headers=[("Location", "http://inside.example/")]))
    auth = {
        "type": "oauth2",
        "tokenUrl": "http://inside.example/",
        "clientId": "me",
        "clientSecret": "s3cret",
    }
    steps = [
        {"id": "fine", "method": "GET", "url": "http://outside.example/"},
        {"id": "moved", "method": "GET", "url": "http://outside.example/away"},
        {"id": "token", "method": "GET", "url": "http://outside.example/", "auth": auth},
    ]
    document = {"version": "1.0", "flow_inputs": [], "config": {"stopOnError": False}, "steps": steps}
    async with Opened(Zone(), api.port) as opened:
        settings = runner.RunSettings(transport=opened.transport, deny_private=True)
        result = await runner.run(document, settings=settings)
    told = "the address 127.0.0.1 of inside.example is not public; --deny-private refuses it"
    assert result.step("fine").status == "succeeded"
    assert (result.step("moved").error.code, result.step("moved").error.message) == ("http.refused", told)
    assert (result.step("token").error.code, result.step("token").error.message) == (
        "http.refused",
        f"no token: {told}",
    )
    assert {place for place, _ in opened.connected} == {PUBLIC}
    assert [request.path for request in api.requests] == ["/", "/away"]
