"""What differs between two documents, in their words: for a look before a push and after it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from runner.core.commands import Json
from runner.core.document import join

MOST_LINES: Final = 20
LONGEST_SHOWN: Final = 60


def unlike(
    one: Json, other: Json, path: str, *, empty: Sequence[Json] = (), by_id: bool = False
) -> Iterator[tuple[str, Json, Json]]:
    """Yield where two values differ in meaning: place, the one, the other; None where there is nothing.

    A whole number may be written with a fraction, and all that is `empty` is the same. With `by_id` the
    objects of a list are compared with those of the same id, and their order is a difference of its own.
    """
    if one in empty and other in empty:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            yield from unlike(one.get(key), other.get(key), join(path, key), empty=empty, by_id=by_id)
    elif isinstance(one, list) and isinstance(other, list):
        names = _ids(one), _ids(other)
        if by_id and names[0] is not None and names[1] is not None:
            yield from _by_id(names[0], names[1], path)
            return
        for number, pair in enumerate(zip_longest(one, other)):
            yield from unlike(*pair, join(path, number), empty=empty, by_id=by_id)
    elif one != other or isinstance(one, bool) != isinstance(other, bool):
        yield path, one, other


def _ids(items: Sequence[Json]) -> dict[str, Json] | None:
    """Return objects by their ids, None if one has none or two have the same."""
    found = {item["id"]: item for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)}
    return found if len(found) == len(items) else None


def _by_id(one: Mapping[str, Json], other: Mapping[str, Json], path: str) -> Iterator[tuple[str, Json, Json]]:
    for name in [*one, *(name for name in other if name not in one)]:
        yield from unlike(one.get(name), other.get(name), f"{path}[{name}]", by_id=True)
    if one.keys() == other.keys() and list(one) != list(other):
        yield f"the order of {path}", list(one), list(other)


def changes(one: Mapping[str, Json], other: Mapping[str, Json], *, by_id: bool = False) -> list[str]:
    """Return a line for each difference: ``settings.timezone: "UTC" -> "Asia/Kolkata"``."""
    return [change_line(*found) for found in unlike(one, other, "", by_id=by_id)]


def change_line(at: str, old: Json, new: Json) -> str:
    """Return a difference in one line."""
    return f"{at}: {shown(old)} -> {shown(new)}"


def shortened(lines: Sequence[str]) -> Iterator[str]:
    """Yield the first lines, and how many more there are."""
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"… and {len(lines) - MOST_LINES} more"


def shown(value: Json) -> str:
    """Return a value in a few words."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
