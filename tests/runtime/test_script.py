"""JavaScript runs with a limit of time and memory, without I/O, and beside the event loop."""

import sys

import anyio
import pytest

from runner.core.commands import Computed, Refused, RunScript
from runner.runtime.script import NO_ENGINE, run_now, run_script

pytest.importorskip("quickjs", reason="no JavaScript engine: the extra js is not installed")


def value(code, argument=None):
    reply = run_now(RunScript(code, argument))
    assert isinstance(reply, Computed), reply
    return reply.value


def refused(code, argument=None):
    reply = run_now(RunScript(code, argument))
    assert isinstance(reply, Refused), reply
    return reply.code, reply.message


@pytest.mark.parametrize(
    ("code", "argument", "expected"),
    [
        ("module.exports = a = async ({params}) => { return {sum: params.x + 1}; }", {"params": {"x": 2}}, {"sum": 3}),
        ("module.exports = ({params}) => params.text.length", {"params": {"text": "Grüße"}}, 5),
        ("const x = 20; x + 1", None, 21),
        ("module.exports = () => undefined", None, None),
        ("module.exports = () => (() => 1)", None, None),
        ("module.exports = async () => { await null; return [true, null, 1.5, 'x']; }", None, [True, None, 1.5, "x"]),
        ("console.log('heard by nobody'); 'quiet'", None, "quiet"),
    ],
)  # fmt: skip
def test_a_script_gives_what_its_export_returns_or_its_last_expression(code, argument, expected):
    assert value(code, argument) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("new Buffer('Grüße').toString('base64')", "R3LDvMOfZQ=="),
        ("Buffer.from('R3LDvMOfZQ==', 'base64').toString('utf8')", "Grüße"),
        ("Buffer.from('Pj4_Pz8-', 'base64url').toString()", ">>???>"),
        ("Buffer.from('>>???>').toString('base64url')", "Pj4_Pz8-"),
        ("Buffer.from('6869', 'hex').toString()", "hi"),
        ("Buffer.from('hi').toString('hex')", "6869"),
        ("Buffer.from([104, 105]).toString('latin1')", "hi"),
        ("Buffer.from('é', 'latin1').toString('hex')", "e9"),
        ("Buffer.from('hi').length", 2),
        ("JSON.stringify(Buffer.from('hi'))", '{"type":"Buffer","data":[104,105]}'),
        ("atob(btoa('hi'))", "hi"),
    ],
)
def test_texts_are_encoded_as_in_node(code, expected):
    assert value(code) == expected


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("while (true) {}", ("script.time", "the script took longer than 1 s")),
        ("module.exports = async () => { while (true) await null; }", ("script.time", "the script took longer than 1 s")),
        ("new ArrayBuffer(100 * 1024 * 1024)", ("script.memory", "the script needed more than 64 MiB")),
        ("module.exports = () => { throw new TypeError('no') }", ("script.failed", "TypeError: no")),
        ("module.exports = () => { throw 'a text' }", ("script.failed", "a text")),
        ("module.exports = () => new Promise(() => undefined)", ("script.failed", "the script waits for something that never comes")),
        ("let let", None),
        ("const a = {}; a.a = a; a", None),
        ("module.exports = async () => { await null; globalThis.$done = 5 }", ("script.failed", "TypeError: not a function")),
        ("module.exports = async () => { await null; globalThis.$done = () => 5 }", ("script.failed", "the script has changed what it runs in")),
        ("module.exports = async () => { await null; globalThis.$done = () => '[]' }", ("script.failed", "the script has changed what it runs in")),
        ("module.exports = async () => { await null; globalThis.$done = () => '{\"state\": \"done\", \"value\": \"{\"}' }", ("script.failed", "the value of the script is no JSON")),
        ("require('fs')", ("script.failed", "ReferenceError: require is not defined")),
        ("module.exports = () => { let a = []; for (let i = 0; i < 5000; i++) a = [a]; return a; }", None),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_a_script_is_a_refusal_with_its_reason(code, told):
    found = refused(code)
    assert found == told if told else found[0] in ("script.failed", "limit.depth")


def test_a_script_sees_nothing_of_the_one_before():
    assert value("globalThis.kept = 1; 1") == 1
    assert value("typeof globalThis.kept") == "undefined"


def test_without_an_engine_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "quickjs", None)
    assert refused("1") == ("script.no_engine", NO_ENGINE)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_event_loop_goes_on_while_a_script_runs(backend):
    ticks = 0

    async def tick(scope):
        nonlocal ticks
        while True:
            await anyio.sleep(0.001)
            ticks += 1

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(tick, group)
            reply = await run_script(RunScript("while (true) {}"))
            group.cancel_scope.cancel()
        return reply

    assert anyio.run(main, backend=backend).code == "script.time"
    assert ticks > 5
