"""What becomes of each kind of step, node and edge, by dialect: the table of `examples/REFERENCE.md`.

A dialect of another platform adds its own rows; tests hold them to what its reader does.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Fate = Literal["run", "kept", "refused"]


class Kind(NamedTuple):
    """What becomes of a kind: it is run, kept without effect and told, or refused before anything is sent."""

    fate: Fate
    what: str


KINDS: Final[dict[str, dict[str, Kind]]] = {
    "steps": {
        "http": Kind("run", "A step with `url` or `method`: a request."),
        "condition": Kind("run", "A step with `condition` alone: decides along `edges`."),
        "delay": Kind("run", "A step with `delay` or `duration` alone: waits."),
        "set": Kind("run", "A step with `set`: makes variables."),
        "flow": Kind("run", "A step with `flow`: runs another file."),
        "external": Kind(
            "run", "A step with `external`, a node that only its platform runs: by `--answers` or `--stubs`."
        ),
        "endpoint": Kind("refused", "A step that only names a saved endpoint, which the platform knows."),
        "tests": Kind("kept", "Test scripts of a step; `assert` is run instead."),
    },
    "react-flow": {
        "apiCall": Kind("run", "A node with `data.url` and `data.method`: a request."),
        "condition": Kind("run", "A node with `data.condition` alone: its edges say true or false."),
        "delay": Kind("run", "A node with `data.duration`: waits."),
        "set": Kind("run", "A node with `data.set`: makes variables."),
        "flow": Kind("run", "A node with `data.flow`: runs another file."),
        "http_request": Kind("run", "An older `apiCall`; its headers may be a JSON text."),
        "variable_set": Kind("run", "An older `set`, of one `variable` and its `value`."),
        "any other type": Kind("refused", "Run if its `data` says how, as above; converted and kept if not."),
        "edge": Kind("run", "What comes next; like list order."),
        "edge with true or false": Kind(
            "run",
            "From a condition: in `data.condition`, `sourceHandle`, a label of the condition, or the type.",
        ),
        "edge with a condition": Kind(
            "run", "An expression in `data.condition`: a condition step on the edge."
        ),
        "edge of type success, error or always": Kind("run", "Taken after a success, a failure, or either."),
    },
}
