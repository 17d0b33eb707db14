"""A small graph of DaVinci, of the shape that its exports have: a call, a gate, an answer."""


def node(node_id, kind, **data):
    """Return a node as the editor of DaVinci has it."""
    return {
        "data": {"id": node_id, "nodeType": kind, **data},
        "position": {"x": 277, "y": 336.5},
        "group": "nodes",
        "removed": False,
        "selected": False,
        "selectable": True,
        "locked": False,
        "grabbable": True,
        "pannable": False,
        "classes": "",
    }


def edge(edge_id, source, target):
    """Return an edge as the editor of DaVinci has it."""
    return {
        "data": {"id": edge_id, "source": source, "target": target},
        "position": {"x": 0, "y": 0},
        "group": "edges",
        "removed": False,
        "selected": False,
        "selectable": True,
        "locked": False,
        "grabbable": True,
        "pannable": True,
        "classes": "",
    }


CONNECTION = "867ed4363b2bc21c860085ad2baa817d"
GRAPH = {
    "elements": {
        "nodes": [
            node(
                "0h0kie4kxi", "CONNECTION", connectionId=CONNECTION, connectorId="httpConnector", name="Http",
                label="Http", status="configured", capabilityName="makeRestApiCall", type="action",
                properties={"url": {"value": "https://api.example.com/status"}, "nodeTitle": {"value": "Ask"}},
                outcomes=[{"id": "1", "result": "true", "label": "fine"}],
            ),
            node("1x9qj2pz5m", "EVAL", label="Evaluator", properties={"2b7rk8wq4n": {"value": "allTriggersTrue"}}),
            node(
                "2b7rk8wq4n", "CONNECTION", connectionId=CONNECTION, connectorId="httpConnector", name="Http",
                label="Http", status="configured", capabilityName="createSuccessResponse", type="action",
            ),
        ],
        "edges": [edge("3c", "0h0kie4kxi", "1x9qj2pz5m"), edge("4d", "1x9qj2pz5m", "2b7rk8wq4n")],
    },
    "data": {},
    "zoomingEnabled": True,
    "userZoomingEnabled": True,
    "zoom": 1,
    "minZoom": 1e-50,
    "maxZoom": 1e50,
    "panningEnabled": True,
    "userPanningEnabled": True,
    "pan": {"x": 0, "y": 0},
    "boxSelectionEnabled": True,
    "renderer": {"name": "null"},
}  # fmt: skip
