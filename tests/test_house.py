"""The house rules that a machine can check. `python tests/test_house.py` prints where we stand."""

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "runner"

FUNCTION_LINES = 60
MODULE_LINES = 600
# Lines of code: without blank lines, comments and docstrings, which a small room should not save on.
# The aim of the design for the core is 3 500; a change that comes nearer lowers the bound with it.
ROOM_LINES = {"runner/core": 8_700, "runner": 27_700}
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}  # fmt: skip
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "manager"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def room_lines(room: str) -> int:
    return sum(map(code_lines, (ROOT / room).rglob("*.py")))


@cache
def code_lines(path: Path) -> int:
    """Count the lines that have code on them: no blank lines, no comments, no docstrings."""
    with path.open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type not in NO_CODE]
    found = {line for token in tokens[1:] for line in range(token.start[0], token.end[0] + 1)}
    return len(found - set(docstring_lines(path)))


def docstring_lines(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            yield from range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            yield f"{name(path)}:{node.lineno} {node.name}", size


def all_functions() -> list[tuple[str, int]]:
    return [found for path in modules() for found in functions(path)]


def comments(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield f"{name(path)}:{token.start[0]}", token.string


def commented(pattern: str) -> list[str]:
    found = re.compile(pattern)
    return [place for path in modules() for place, text in comments(path) if found.search(text)]


def test_a_function_fits_on_a_screen():
    too_long = [(place, size) for place, size in all_functions() if size > FUNCTION_LINES]
    assert too_long == []


def test_a_module_can_be_read_in_one_sitting():
    too_long = [(name(path), lines(path)) for path in modules() if lines(path) > MODULE_LINES]
    assert too_long == []


def test_a_room_keeps_to_its_size():
    too_big = {room: size for room, limit in ROOM_LINES.items() if (size := room_lines(room)) > limit}
    assert too_big == {}


def test_a_module_is_named_after_what_it_is_about():
    assert [
        name(path)
        for path in PACKAGE.rglob("*")
        if EMPTY_NAMES & set(path.stem.lower().split("_")) and (path.is_dir() or path.suffix == ".py")
    ] == []


def test_imports_form_no_cycle():
    graph = grimp.build_graph("runner", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    cycle = ""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        cycle = " <- ".join(error.args[1])
    assert cycle == ""


def test_an_ignored_type_error_says_which():
    assert commented(r"type:\s*ignore(?!\[)") == []


def test_no_line_is_excused_from_coverage():
    assert commented(r"pragma:\s*no\s*(cover|branch)") == []


def print_table() -> None:
    rooms = sorted({"runner", *(name(path.parent) for path in modules())})
    print(f"{'room':<24}{'modules':>8}{'lines':>8}{'limit':>8}")
    for room in rooms:
        count = len(list((ROOT / room).rglob("*.py")))
        print(f"{room:<24}{count:>8}{room_lines(room):>8}{ROOM_LINES.get(room, ''):>8}")
    longest_modules = sorted(((lines(path), name(path)) for path in modules()), reverse=True)[:5]
    longest_functions = sorted(((size, place) for place, size in all_functions()), reverse=True)[:5]
    for title, limit, rows in [
        ("longest modules", MODULE_LINES, longest_modules),
        ("longest functions", FUNCTION_LINES, longest_functions),
    ]:
        print(f"\n{title} (limit {limit})")
        for size, place in rows:
            print(f"{size:>6}  {place}")


if __name__ == "__main__":
    print_table()
