"""Which nodes of a graph cannot be reached but over which others.

The algorithm is that of Cooper, Harvey and Kennedy, A Simple, Fast Dominance Algorithm (2001).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce


def spans_of(before: Mapping[str, Sequence[str]], root: str) -> dict[str, tuple[int, int]]:
    """Return for each node that is reached its number, and the last number of those that need it.

    `before` are the sources of the edges into each node. A node needs another if every way from the root
    leads over it; its number is then within the other's span.
    """
    order = _postorder(before, root)
    rank = {name: number for number, name in enumerate(order)}
    above = {root: root}
    is_changing = True
    while is_changing:
        is_changing = False
        for name in reversed(order[:-1]):
            known = [one for one in before[name] if one in above]
            found = reduce(lambda one, other: _meeting(above, rank, (one, other)), known)
            is_changing |= above.get(name) != found
            above[name] = found
    below: dict[str, list[str]] = {}
    for name in reversed(order[:-1]):
        below.setdefault(above[name], []).append(name)
    return _numbered(below, root)


def _postorder(before: Mapping[str, Sequence[str]], root: str) -> list[str]:
    following: dict[str, list[str]] = {}
    for target, sources in before.items():
        for source in sources:
            following.setdefault(source, []).append(target)
    order: list[str] = []
    seen, stack = {root}, [(root, iter(following.get(root, ())))]
    while stack:
        further = next((one for one in stack[-1][1] if one not in seen), None)
        if further is None:
            order.append(stack.pop()[0])
        else:
            seen.add(further)
            stack.append((further, iter(following.get(further, ()))))
    return order


def _meeting(above: Mapping[str, str], rank: Mapping[str, int], pair: tuple[str, str]) -> str:
    """Return the nearest node that both are reached over."""
    one, other = pair
    while one != other:
        if rank[one] < rank[other]:
            one = above[one]
        else:
            other = above[other]
    return one


def _numbered(below: Mapping[str, list[str]], root: str) -> dict[str, tuple[int, int]]:
    first: dict[str, int] = {}
    spans: dict[str, tuple[int, int]] = {}
    stack = [(root, False)]
    while stack:
        name, is_done = stack.pop()
        if is_done:
            spans[name] = first[name], len(first) - 1
        else:
            first[name] = len(first)
            stack += [(name, True), *((one, False) for one in below.get(name, ()))]
    return spans
