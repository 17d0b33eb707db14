import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.commands import Refused
from runner.runtime.policy import ProxyRouter, ProxyRules, Route
from runner.runtime.router import HostRouter, HostRules, read_rules

pytestmark = pytest.mark.anyio
PROXY = "http://proxy.example:3128"


def rules(*, maps=(), allowed=(), deny_private=False, proxies=None):
    found, problems = read_rules(maps, allowed, deny_private=deny_private, proxies=proxies or ProxyRules())
    assert problems == []
    return found


def router(proxies=None, **given):
    return HostRouter(rules(**given), ProxyRouter(proxies or ProxyRules()))


async def allows(pattern, host, port=443):
    return isinstance(await router(allowed=[pattern]).route("https", host, port), Route)


# Which hosts are allowed


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("x.example", "x.example"),
        ("X.Example", "x.eXAMPLE"),
        ("x.example", "x.example."),
        ("x.example.", "x.example"),
        ("*.x.example", "a.b.x.example"),
        ("api-?.x.example", "api-7.x.example"),
        ("*", "anything"),
        ("x.example:443", "x.example"),
        ("*:443", "x.example"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.*", "10.1.2.3"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[0:0::1]:443", "::1"),
        ("::1", "0:0:0:0:0:0:0:1"),
    ],
)
async def test_a_host_that_the_pattern_covers_may_be_sent_to(pattern, host):
    assert await allows(pattern, host)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("x.example", "a.x.example"),
        ("x.example", "x.example.evil"),
        ("x.example", "xaexample"),
        ("*.x.example", "x.example"),
        ("*.x.example", "ax.example"),
        ("x.example:80", "x.example"),
        ("127.0.0.1", "2130706433"),  # another spelling of it is another host, and not allowed
        ("::1", "::2"),
    ],
)
async def test_any_other_host_may_not(pattern, host):
    assert not await allows(pattern, host)


async def test_a_refusal_names_host_port_and_flag():
    found = await router(allowed=["x.example"]).route("http", "y.example", 81)
    assert found == Refused("http.refused", "y.example:81 is none of the hosts that --allow-host names")


# Which host is connected to


async def test_a_mapped_host_is_connected_to_elsewhere_and_keeps_its_port_unless_told():
    found = router(maps=["a.example=127.0.0.1:8080", "b.example:81=[::1]", "*.c.example=d"])
    assert await found.route("http", "a.example", 80) == Route("127.0.0.1", 8080)
    assert await found.route("https", "a.example", 443) == Route("127.0.0.1", 8080)
    assert await found.route("http", "b.example", 81) == Route("::1", 81)
    assert await found.route("http", "b.example", 82) == Route("b.example", 82)
    assert await found.route("http", "x.c.example", 80) == Route("d", 80)


async def test_the_first_of_several_maps_counts():
    found = router(maps=["a.example:81=one", "*=two:8080"])
    assert await found.route("http", "a.example", 81) == Route("one", 81)
    assert await found.route("http", "a.example", 80) == Route("two", 8080)


async def test_a_mapped_host_is_reached_without_a_proxy_and_others_through_it():
    found = router(ProxyRules(http=PROXY), maps=["a.example=b.example"])
    assert await found.route("http", "a.example", 80) == Route("b.example", 80)
    assert await found.route("http", "b.example", 80) == Route("b.example", 80, PROXY)


async def test_it_is_the_host_of_the_url_that_must_be_allowed():
    found = router(maps=["a.example=127.0.0.1"], allowed=["a.example"])
    assert await found.route("http", "a.example", 80) == Route("127.0.0.1", 80)
    assert isinstance(await found.route("http", "127.0.0.1", 80), Refused)


# Public addresses


async def test_names_are_left_to_the_connection_and_addresses_are_judged_at_once():
    found = router(deny_private=True)
    assert await found.route("http", "a.example", 80) == Route("a.example", 80, public_only=True)
    assert await found.route("http", "93.184.216.34", 80) == Route("93.184.216.34", 80, public_only=True)
    refused = await found.route("http", "127.0.0.1", 80)
    assert refused == Refused(
        "http.refused", "the address 127.0.0.1 is not public; --deny-private refuses it"
    )


async def test_a_map_does_not_lead_past_the_check_of_addresses():
    found = router(maps=["a.example=10.0.0.1"], deny_private=True)
    assert isinstance(await found.route("http", "a.example", 80), Refused)


async def test_a_proxy_of_a_router_of_ones_own_cannot_hide_an_address():
    found = router(ProxyRules(http=PROXY), deny_private=True)
    assert (await found.route("http", "a.example", 80)).code == "http.refused"


async def test_a_refusal_of_the_router_beyond_counts():
    class Closed:
        async def route(self, scheme, host, port):
            return Refused("http.refused", "closed")

    found = HostRouter(HostRules(deny_private=True), Closed())
    assert await found.route("http", "a.example", 80) == Refused("http.refused", "closed")


async def test_decisions_are_remembered_but_not_without_bound():
    found = router(allowed=["x.example"])
    assert await found.route("http", "x.example", 80) is await found.route("http", "x.example", 80)
    for number in range(3000):
        await found.route("http", f"{number}.example", 80)
    assert len(found._found) <= 1024


# How rules are written


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.example", "'a.example' is not HOST[:PORT]=HOST[:PORT]"),
        ("a=*.b", "'*.b' is a pattern; name the one host to connect to"),
        ("a=b?", "'b?' is a pattern; name the one host to connect to"),
        ("a=", "'' is no host with an optional port; other scripts are written as xn--…"),
        ("=b", "'' is no host with an optional port; other scripts are written as xn--…"),
        ("http://a=b", "'http://a' is no host with an optional port; leave scheme and path out"),
        ("a:0=b", "'a:0' has a port that does not exist; ports go from 1 to 65535"),
        ("a=b:70000", "'b:70000' has a port that does not exist; ports go from 1 to 65535"),
        ("a=[::g]", "'[::g]' is no host with an optional port; other scripts are written as xn--…"),
        ("a=[1:2]", "'[1:2]' is no host with an optional port; other scripts are written as xn--…"),
    ],
)
def test_a_map_that_makes_no_sense_is_told(text, problem):
    _, problems = read_rules([text], [], deny_private=False, proxies=ProxyRules())
    assert [(one.code, one.where, one.what) for one in problems] == [("usage.map", "--map", problem)]


def test_all_that_is_wrong_is_told_at_once():
    _, problems = read_rules(["a", "b"], ["ä.example"], deny_private=True, proxies=ProxyRules(http=PROXY))
    assert [one.code for one in problems] == [
        "usage.map", "usage.map", "usage.allow_host", "usage.deny_private",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "proxies", [ProxyRules(), ProxyRules(http=PROXY, exempt=("*",)), ProxyRules(https=PROXY, exempt=("*",))]
)
def test_public_addresses_may_be_demanded_where_no_host_has_a_proxy(proxies):
    assert rules(deny_private=True, proxies=proxies).deny_private


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_a_problem(text):
    found, problems = read_rules([text], [text], deny_private=False, proxies=ProxyRules())
    assert len(found.maps) + len(found.allowed) + len(problems) == 2
