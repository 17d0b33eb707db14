"""DaVinci documents for tests, all our own: nodes, gates and the five shapes around them."""

import json


def slate(*parts):
    """Return an editor's document of texts and references (given as tuples) as its JSON text."""
    children = [
        {"type": "link", "src": "auth.svg", "url": one[0], "data": one[0], "children": [{"text": ""}]}
        if isinstance(one, tuple)
        else {"text": one}
        for one in parts
    ]
    return json.dumps([{"children": children}])


def value(given):
    return {"value": given}


def node(name, kind, /, **properties):
    """Return a node; `kind` is connector/capability, properties are wrapped unless they are objects."""
    connector, _, capability = kind.partition("/")
    wrapped = {
        key: one if isinstance(one, dict) and "value" in one else value(one)
        for key, one in properties.items()
    }
    return {
        "data": {
            "id": name, "nodeType": "CONNECTION", "connectionId": "867ed4363b2bc21c860085ad2baa817d",
            "connectorId": connector, "name": connector, "label": connector, "status": "configured",
            "capabilityName": capability, "type": "trigger", "properties": wrapped,
        },
        "position": {"x": 277, "y": 236}, "group": "nodes", "removed": False, "selected": False,
        "selectable": True, "locked": False, "grabbable": True, "pannable": False, "classes": "",
    }  # fmt: skip


def gate(name, **operators):
    """Return an evaluator; `operators` are by the id of the node behind it."""
    data = {"id": name, "nodeType": "EVAL", "label": "Evaluator"}
    if operators:
        data["properties"] = {target: value(one) for target, one in operators.items()}
    return {"data": data, "position": {"x": 0, "y": 0}, "group": "nodes"}


def note(name):
    return {
        "data": {"id": name, "nodeType": "ANNOTATION", "connectorId": "annotationConnector"},
        "group": "nodes",
    }


def edge(source, target, branch=None):
    data = {"id": f"{source}-{target}-{branch}", "source": source, "target": target}
    if branch is not None:
        data["multiValueSourceId"] = branch
    return {"data": data, "group": "edges"}


class Drawing:
    """A graph that is put together: `add` a node, `then` what follows it."""

    def __init__(self):
        self.nodes, self.edges, self.number = [], [], 0

    def add(self, name, kind, /, **properties):
        self.nodes.append(node(name, kind, **properties))
        return self

    def then(self, sources, targets, operator=None, branch=None):
        """Lead from one or several nodes to one or several nodes, through one evaluator."""
        self.number += 1
        name = f"gate{self.number}"
        after = targets.split()
        self.nodes.append(gate(name, **(dict.fromkeys(after, operator) if operator else {})))
        self.edges += [edge(one, name, branch) for one in sources.split()]
        self.edges += [edge(name, one) for one in after]
        return self

    @property
    def graph(self):
        return {
            "elements": {"nodes": self.nodes, "edges": self.edges}, "data": {}, "zoom": 1,
            "pan": {"x": 0, "y": 0},
        }  # fmt: skip

    def export(self, name="Test flow", flow_id="f1", **more):
        """Return the flow as the console exports it."""
        return {
            "flowId": flow_id, "name": name, "description": "", "companyId": "company-1",
            "customerId": "customer-1", "flowStatus": "enabled", "connectorIds": [], "currentVersion": 1,
            "savedDate": 1713556323000, "graphData": self.graph, "variables": [], "settings": {}, **more,
        }  # fmt: skip


def variable(name, context="flowInstance", kind="string", given=None):
    held = {"type": kind, "displayName": "", "mutable": True}
    if given is not None:
        held["value"] = given
    return {"name": f"{name}##SK##{context}", "context": context, "type": "property", "fields": held}
