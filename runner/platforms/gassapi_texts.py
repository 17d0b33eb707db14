"""What GASSAPI says when it refuses a flow, word for word.

`DOCUMENTED` are the words of its documents (seed 002 and the pages it belongs to), `OBSERVED` those
of its server. The documents name an input by its name, the server inputs and steps by number.
"""

from __future__ import annotations

from typing import Final, Literal

Face = Literal["documented", "observed"]
Stage = Literal["text", "inputs", "format", "references"]

STAGES: Final[dict[Stage, tuple[str, str]]] = {
    "text": ("gassapi.text", ""),
    "inputs": ("gassapi.inputs", "Invalid flow inputs: "),
    "format": ("gassapi.format", "Invalid flow format: "),
    "references": ("gassapi.references", "Invalid variable references: "),
}


TEXTS: Final = {
    "content": "Input contains invalid content",
    "pattern": "Input contains invalid pattern",
    "length": "Input too long (max 1000 characters)",
    "array": "flow_inputs must be an array",
    "object": "Input {index} must be an object",
    "name": "Input {input}: name is required",
    "type": "Input {input}: type is required",
    "reference_empty": "Step {index}: Empty variable reference",
    "reference_format": (
        "Step {index}: Invalid variable reference format '{reference}'. Expected format: type.field"
    ),
    "reference_type": (
        "Step {index}: Invalid reference type '{root}'."
        " Must be one of: input, env, headers or a valid step ID"
    ),
    "reference_no_field": "Step {index}: Empty field name in reference '{reference}'",
    "reference_field": "Step {index}: Invalid field name '{field}' in reference '{reference}'",
}
DOCUMENTED: Final = {
    **TEXTS,
    "name_invalid": "Input {input}: name must be a valid variable name",
    "type_invalid": (
        "Input {input}: invalid type '{given}', must be one of:"
        " string, email, password, number, boolean, object, array, file, date, json"
    ),
    "missing": "Missing required field '{field}'",
    "missing_step": "Step missing required field '{field}'",
    "missing_node": "Node missing required field '{field}'",
    "missing_edge": "Edge missing required field '{field}'",
    "node_type": "Unsupported node type '{given}'",
}
OBSERVED: Final = {
    **TEXTS,
    "name_invalid": (
        "Input {input}: name must be a valid variable name"
        " (start with letter/underscore, only alphanumeric and underscore)"
    ),
    "type_invalid": (
        "Input {input}: type must be one of:"
        " string, number, boolean, email, password, object, array, file, date, json"
    ),
    "min_length": "Input {input}: min_length must be a non-negative integer",
    "max_length": "Input {input}: max_length must be a positive integer",
    "length_type": "Input {input}: {rule} is not applicable for type {type}",
    "numeric": "Input {input}: {rule} must be numeric for number type",
    "range": "Input {input}: min cannot be greater than max",
    "regex": "Input {input}: pattern must be a valid regex",
    "options": "Input {input}: options must be an array",
    "option": "Input {input}: option {option} must be a string",
    "missing": "Missing {field}",
    "missing_step": "Step {index} missing {field}",
    "missing_node": "Node {index} missing {field}",
    "missing_edge": "Edge {index} missing {field}",
}
