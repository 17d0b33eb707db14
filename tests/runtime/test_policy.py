import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.runtime.policy import ProxyRouter, ProxyRules, Route

pytestmark = pytest.mark.anyio
PROXY = "http://proxy.example:3128"


def exempt(entry, host, port=80):
    rules = ProxyRules.from_environment({"HTTP_PROXY": PROXY, "NO_PROXY": entry})
    return rules.proxy_for("http", host, port) is None


def test_each_scheme_has_its_proxy():
    rules = ProxyRules.from_environment({"HTTP_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:2"})
    assert rules.proxy_for("http", "x.example", 80) == "http://a:1"
    assert rules.proxy_for("https", "x.example", 443) == "http://b:2"


def test_all_proxy_serves_the_scheme_that_has_none():
    rules = ProxyRules.from_environment({"ALL_PROXY": "http://all:1", "HTTPS_PROXY": "http://b:2"})
    assert (rules.http, rules.https) == ("http://all:1", "http://b:2")


def test_the_lower_case_spelling_wins():
    assert ProxyRules.from_environment({"HTTP_PROXY": "http://up:1", "http_proxy": "http://low:1"}).http == (
        "http://low:1"
    )


def test_a_proxy_without_a_scheme_is_an_http_proxy():
    assert ProxyRules.from_environment({"https_proxy": "proxy:3128"}).https == "http://proxy:3128"


def test_without_settings_there_is_no_proxy():
    assert ProxyRules.from_environment({}) == ProxyRules()
    assert ProxyRules.from_environment({"HTTP_PROXY": " "}).http is None


def test_a_header_named_proxy_cannot_choose_the_proxy_under_cgi():
    rules = ProxyRules.from_environment({"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil:1"})
    assert rules.http is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_a_loopback_host_is_reached_without_a_proxy(host):
    assert ProxyRules(http=PROXY).proxy_for("http", host, 80) is None


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("*", "x.example"),
        ("x.example", "x.example"),
        ("example", "x.example"),
        (".x.example", "a.x.example"),
        ("*.x.example", "a.x.example"),
        ("X.Example", "x.EXAMPLE"),
        ("a.example, x.example", "x.example"),
        ("a.example x.example", "x.example"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3"),
        ("fd00::/8", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("x.example:80", "x.example"),
    ],
)
def test_no_proxy_covers(entry, host):
    assert exempt(entry, host)


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("", "x.example"),
        ("x.example", "ax.example"),
        (".x.example", "x.example"),
        ("*.x.example", "x.example"),
        ("10.0.0.0/8", "11.1.2.3"),
        ("10.0.0.0/8", "x.example"),
        ("x.example:81", "x.example"),
        ("10.1.2.3", "10.1.2.30"),
    ],
)
def test_no_proxy_does_not_cover(entry, host):
    assert not exempt(entry, host)


@given(st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_any_no_proxy_text_gives_an_answer(entry, host):
    assert isinstance(exempt(entry, host), bool)


async def test_the_default_way_is_the_host_itself_through_its_proxy():
    router = ProxyRouter(ProxyRules(https=PROXY))
    assert await router.route("https", "x.example", 443) == Route("x.example", 443, PROXY)
    assert await router.route("http", "x.example", 80) == Route("x.example", 80)
    assert await router.route("https", "x.example", 443) is await router.route("https", "x.example", 443)
