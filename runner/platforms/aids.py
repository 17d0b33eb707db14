"""What a run is given for nodes of another platform that their document does not say all of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.core.document import Document


@dataclass(frozen=True, slots=True)
class Aids:
    """What nodes do that only their platform can run, by their names: `bindings`, a document of its own.

    With `recorded` the inputs have the values of the last test. `ids` are those of steps, by node, where
    they are known from before.
    """

    bindings: Document | None = None
    recorded: bool = False
    ids: Mapping[str, str] = field(default_factory=dict)
