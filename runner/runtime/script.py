"""JavaScript in QuickJS (extra `js`): no I/O, one second, 64 MiB, away from the event loop.

A script is CommonJS: what it assigns to `module.exports` is called with the argument. One that assigns
nothing gives the value of its last expression. `Buffer`, `btoa` and `atob` are there as far as texts go.
"""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any, Final

import anyio.to_thread

from runner.core.commands import Computed, Json, Refused, RunScript

SECONDS: Final = 1.0
MEMORY: Final = 64 * 1024 * 1024
NO_ENGINE: Final = "JavaScript needs an engine; install it with: pip install 'flowspan-runner[js]'"

_SHIM: Final = r"""
'use strict';
(() => {
  const toBytes = (text) => Array.from(unescape(encodeURIComponent(text)), (c) => c.charCodeAt(0));
  const toText = (bytes) => {
    const raw = String.fromCharCode.apply(null, bytes);
    try { return decodeURIComponent(escape(raw)); } catch { return raw; }
  };
  const hex = (bytes) => bytes.map((b) => b.toString(16).padStart(2, '0')).join('');
  const latin = (bytes) => bytes.map((b) => String.fromCharCode(b)).join('');
  class Buffer extends Uint8Array {
    static from(value, coding) {
      if (typeof value !== 'string') return Object.setPrototypeOf(Uint8Array.from(value), Buffer.prototype);
      let bytes;
      switch (coding) {
        case 'base64': case 'base64url':
          bytes = Array.from(atob(value.replace(/-/g, '+').replace(/_/g, '/').replace(/[\s=]/g, '')),
            (c) => c.charCodeAt(0));
          break;
        case 'hex': bytes = (value.match(/[0-9a-f]{2}/gi) || []).map((pair) => parseInt(pair, 16)); break;
        case 'binary': case 'latin1': bytes = Array.from(value, (c) => c.charCodeAt(0) & 255); break;
        default: bytes = toBytes(value);
      }
      return Object.setPrototypeOf(Uint8Array.from(bytes), Buffer.prototype);
    }
    toString(coding) {
      const bytes = Array.from(this);
      switch (coding) {
        case 'base64': return btoa(latin(bytes));
        case 'base64url':
          return btoa(latin(bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
        case 'hex': return hex(bytes);
        case 'binary': case 'latin1': return latin(bytes);
        default: return toText(bytes);
      }
    }
    toJSON() { return { type: 'Buffer', data: Array.from(this) }; }
  }
  globalThis.Buffer = new Proxy(Buffer, { construct: (_, given) => Buffer.from(...given) });
  globalThis.console = Object.freeze(
    Object.fromEntries(['log', 'info', 'warn', 'error', 'debug'].map((name) => [name, () => undefined])));
  globalThis.module = { exports: {} };
  globalThis.exports = module.exports;
})();
"""
_CALL: Final = r"""
((run, code, argument) => {
  const done = { state: 'waiting' };
  const text = (value) => {
    const json = JSON.stringify(value === undefined ? null : value);
    return json === undefined ? 'null' : json;
  };
  const told = (error) => error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const start = () => {
    const last = run(code);
    const made = module.exports;
    return typeof made === 'function' ? made(JSON.parse(argument)) : last;
  };
  new Promise((resolve) => resolve(start()))
    .then((value) => { done.value = text(value); done.state = 'done'; })
    .catch((error) => { done.value = told(error); done.state = 'thrown'; });
  return () => JSON.stringify(done);
})
"""


async def run_script(command: RunScript) -> Computed | Refused:
    """Run a script in a thread of its own; a failure of any kind is a refusal with its reason."""
    return await anyio.to_thread.run_sync(partial(run_now, command), abandon_on_cancel=True)


def run_now(command: RunScript) -> Computed | Refused:
    """Run a script in this thread."""
    try:
        import quickjs
    except ImportError:
        return Refused("script.no_engine", NO_ENGINE)
    try:
        state = _result(quickjs, command)
    except quickjs.JSException as error:
        return _refused(str(error))
    if state["state"] == "waiting":
        return Refused("script.failed", "the script waits for something that never comes")
    if state["state"] == "thrown":
        return _refused(state["value"])
    try:
        return Computed(json.loads(state["value"]))
    except RecursionError:
        return Refused("limit.depth", "the value of the script is nested too deeply")
    except ValueError:
        return Refused("script.failed", "the value of the script is no JSON")


def _result(quickjs: Any, command: RunScript) -> dict[str, str]:  # noqa: ANN401 - a module without types
    until = time.monotonic() + SECONDS
    context = quickjs.Context()
    context.set_memory_limit(MEMORY)
    context.set_time_limit(SECONDS)
    context.eval(_SHIM)
    context.set("$code", command.code)
    context.set("$argument", json.dumps(command.argument))
    context.eval(f"globalThis.$done = ({_CALL})(globalThis.eval, $code, $argument)")
    while (left := until - time.monotonic()) > 0:
        context.set_time_limit(left)
        if not context.execute_pending_job():
            break
    else:
        return {"state": "thrown", "value": "InternalError: interrupted"}
    context.set_time_limit(SECONDS)
    told = context.eval("$done()")
    try:
        found: Json = json.loads(told)
        return {"state": str(found["state"]), "value": str(found.get("value", ""))}
    except (TypeError, ValueError, KeyError, AttributeError):
        return {"state": "thrown", "value": "the script has changed what it runs in"}


def _refused(message: str) -> Refused:
    first = message.strip().partition("\n")[0]
    if "interrupted" in first:
        return Refused("script.time", f"the script took longer than {SECONDS:g} s")
    if first in ("", "null") or "out of memory" in first:
        return Refused("script.memory", f"the script needed more than {MEMORY // 1024 // 1024} MiB")
    return Refused("script.failed", first[:500])
