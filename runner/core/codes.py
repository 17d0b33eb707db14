"""Every code that a problem, a step error or a span event can carry, with one sentence each."""

from __future__ import annotations

PROBLEMS: dict[str, str] = {}
STEP_ERRORS: dict[str, str] = {}
EVENTS: dict[str, str] = {}
