"""Turns and rates, with a clock that stands still until it is moved."""

import anyio
import pytest

from runner.errors import FlowError
from runner.runtime.pace import OwnTurns, Pace

pytestmark = pytest.mark.anyio
URL = "https://api.example.com/x"


class Clock:
    def __init__(self):
        self.ns = 0

    def __call__(self):
        return self.ns

    def move(self, seconds):
        self.ns += round(seconds * 1e9)


class Counted:
    """Turns that note how many were taken each time."""

    def __init__(self, clock):
        self.turns, self.asked = OwnTurns(clock), []

    def reserve(self, host, count, interval):
        self.asked.append((host, count))
        return self.turns.reserve(host, count, interval)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counted(clock):
    return Counted(clock)


async def test_turns_are_as_far_apart_as_the_rate_says(clock):
    pace = Pace(["api.example.com=10/s"], clock=clock)
    assert [await pace.turn(URL) for _ in range(4)] == [0.0, 0.1, 0.2, 0.3]
    clock.move(0.35)
    assert await pace.turn(URL) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("rate", "interval"), [("0.5/s", 2), ("600/m", 0.1), ("2/min", 30), ("36000/h", 0.1), ("4/second", 0.25)]
)
async def test_rates_have_units(clock, rate, interval):
    pace = Pace([f"*={rate}"], clock=clock)
    assert [await pace.turn(URL), await pace.turn(URL)] == [0.0, interval]


async def test_what_nobody_asked_for_is_not_saved_up(clock):
    pace = Pace(["*=10/s"], clock=clock)
    await pace.turn(URL)
    clock.move(60)
    assert [await pace.turn(URL) for _ in range(3)] == [0.0, 0.1, 0.2]


async def test_turns_that_were_taken_ahead_are_lost_when_their_time_has_gone_by(clock, counted):
    pace = Pace(["*=100/s"], counted, clock)
    assert await pace.turn(URL) == 0.0
    assert counted.asked == [("api.example.com", 10)]
    clock.move(0.055)  # five of the ten are over, the one of 0.05 is just due
    assert [await pace.turn(URL) for _ in range(6)] == pytest.approx([0.0, 0.005, 0.015, 0.025, 0.035, 0.045])
    assert len(counted.asked) == 2


async def test_whoever_asks_at_once_is_asked_for_at_once(clock, counted):
    pace = Pace(["*=10/s"], counted, clock)
    waits = []

    async def ask():
        waits.append(await pace.turn(URL))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(ask)
    assert sorted(waits) == pytest.approx([number / 10 for number in range(50)])
    assert len(counted.asked) <= 2  # on trio the first may be alone
    assert sum(count for _, count in counted.asked) == 50


async def test_two_that_share_their_turns_take_one_each(clock):
    turns = OwnTurns(clock)
    one, other = (Pace(["*=10/s"], turns, clock) for _ in range(2))
    assert [await pace.turn(URL) for pace in (one, other, one, other)] == [0.0, 0.1, 0.2, 0.3]


async def test_the_closest_rate_counts_and_each_host_has_its_own(clock, counted):
    rates = ["*=1/s", "*.example.com=2/s", "api.example.com=4/s", "api.example.com:8443=5/s", "*.com=8/s"]
    pace = Pace(rates, counted, clock)

    async def interval(url):
        return [await pace.turn(url), await pace.turn(url)][1]

    assert await interval("http://other.org/") == 1
    assert await interval("http://else.org/") == 1
    assert await interval("http://www.example.com/") == 0.5
    assert await interval("http://API.example.com./") == 0.25
    assert await interval("https://api.example.com:8443/") == 0.2
    assert await interval("http://example.com/") == 0.125
    assert {host for host, _ in counted.asked} == {
        "other.org", "else.org", "www.example.com", "api.example.com", "api.example.com:8443", "example.com",
    }  # fmt: skip


async def test_hosts_without_a_rate_and_urls_that_are_none_wait_for_nothing(clock, counted):
    pace = Pace(["api.example.com=1/h", "api.example.com=1/m"], counted, clock)
    assert [await pace.turn(url) for url in ("http://x.org/", "http://x.org/", "nothing")] == [0.0] * 3
    assert counted.asked == []
    assert [await pace.turn(URL), await pace.turn(URL)] == [0.0, 60.0]  # what was named last


async def test_hosts_without_end_do_not_fill_the_memory(clock):
    pace = Pace(["*=1/s"], clock=clock)
    for number in range(3000):
        await pace.turn(f"http://h{number}.example.com/")
    assert len(pace._lanes) <= 1024


@pytest.mark.parametrize(
    "rate", ["a", "=1/s", "a=0/s", "a=1", "a=x/s", "a=1/d", "http://a=1/s", "a:0=1/s", "a=-1/s"]
)
def test_what_is_no_rate_is_told(rate):
    with pytest.raises(FlowError) as caught:
        Pace([rate, "b=1/s", "c"])
    assert [problem.code for problem in caught.value.problems] == ["usage.rate"] * 2


async def test_whoever_gives_up_waiting_holds_nobody_up(clock):
    pace = Pace(["*=10/s"], clock=clock)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await pace.turn(URL)
    assert await pace.turn(URL) <= 0.1
