"""What becomes of each kind of step, node and edge, by dialect: the table of `examples/REFERENCE.md`.

A dialect of another platform adds its own rows; tests hold them to what its reader does.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Fate = Literal["run", "given", "kept", "refused"]


class Kind(NamedTuple):
    """What becomes of a kind: it is run, kept without effect and told, or refused before anything is sent.

    What is `given` is run by a binding, a scripted outcome or a recording.
    """

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
    "nected": {
        "trigger": Kind("run", "The inputs of the flow, by the fields of the `apiTrigger`."),
        "setVariableNode": Kind("run", "A step with `set`: its fields, as their flags and types say."),
        "responseNode": Kind("run", "The same; what is listed after it runs on."),
        "mergeNode": Kind("run", "A step that goes on when any path has led to it; `isMergeNode` as well."),
        "addNode": Kind("run", "A placeholder, also `addNodeMd`: its edges lead on, and it stays as it is."),
        "switchNode": Kind("given", "A condition for each path: `paths` of a binding; or its `path`."),
        "codeNode": Kind("given", "JavaScript where the `code_path` of a binding says; or its outcome."),
        "connectorNode": Kind("given", "A request as a binding says; or its outcome."),
        "ruleNode": Kind("given", "A request as a binding says, such as to the rule's API; or its outcome."),
        "workflowNode": Kind("given", "A request, or a flow file, as a binding says; or its outcome."),
        "delayNode": Kind("given", "A wait as the `delay` of a binding says; or its outcome."),
        "any other type": Kind("given", "What a binding says; or its outcome."),
        "loopNode": Kind("refused", "A loop over several nodes; converted and kept."),
        "runInLoop": Kind("run", "On a node that is run: once per item of a list, `{{item}}` in bindings."),
        "edge of type then": Kind("run", "Taken after a success; from a switch if its path is taken."),
        "edge of type else": Kind("run", "Taken after a failure; from a switch if no path is taken."),
        "edge of any other type": Kind("kept", "Read as `then`."),
    },
    "davinci": {
        "EVAL": Kind("run", "A gate, with any of the seven operators; edges between nodes."),
        "START": Kind("run", "Where a flow of the newer builder begins."),
        "ANNOTATION": Kind("kept", "A note on the canvas."),
        "httpConnector/makeRestApiCall": Kind("run", "A request; false for an answer that is not 2xx."),
        "httpConnector/createSuccessResponse": Kind("run", "What the flow gives, with typed claims."),
        "httpConnector/createErrorResponse": Kind("run", "Fails the flow with the code of its claims."),
        "httpConnector/createUnwrappedResponse": Kind("run", "What the flow gives, as plain JSON."),
        "httpConnector/*": Kind("given", "Pages and forms: `--answers` say what a person does."),
        "functionsConnector/A…B, AIsEmpty, stringAContainsB, arrayOfAIncludesB": Kind(
            "run", "Comparisons; false is no failure."
        ),
        "functionsConnector/AEqualsMultipleB": Kind("run", "A switch; `-1` is the branch for all others."),
        "functionsConnector/customFunction": Kind(
            "run", "JavaScript, with the extra `js`; false is a failure."
        ),
        "variablesConnector/saveValue": Kind("run", "Variables of the flow; one of the user is refused."),
        "variablesConnector/saveFlowValue": Kind("run", "The same; what is saved lasts as long as the run."),
        "variablesConnector/incrementByN": Kind("run", "Increases a variable that is a number."),
        "nodeConnector/startNode": Kind("run", "Where jumps lead to; its output is what they give."),
        "nodeConnector/goToNode": Kind("run", "A jump; with edges of its own, a call."),
        "nodeConnector/returnBackToCallingNode": Kind("run", "Goes on behind the call."),
        "flowConnector/startSubFlow": Kind("run", "A flow of the same document; any other is stubbed."),
        "flowConnector/startUiSubFlow": Kind("run", "The same."),
        "errorConnector/customErrorMessage": Kind("run", "Fails with its code; ends this way of the flow."),
        "analyticsConnector/logOutcome": Kind("run", "An event on the span."),
        "any other node": Kind("given", "What only DaVinci or a service can do: `--stubs` say it."),
        "a disabled node": Kind("refused", "What follows it is not known."),
        "routing by `outcomes`": Kind("refused", "What it means is not known."),
    },
}
