"""`python -m benchmarks [NAME…] [--quick] [--full] [--http LIBRARY]`; README.md explains the table."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

from benchmarks.figures import FULL, NAMES, ONCE, PER_LIBRARY, QUICK, Found, Measure, Scale
from benchmarks.processes import LIBRARIES, pin, server

_ROW = "{:<11} {:<68} {:>8} {:>8} {:>10} {:<6} {}"


def main() -> None:
    chosen = _chosen()
    scale = QUICK if chosen.quick else FULL
    if chosen.full:
        scale = replace(scale, peak_requests=scale.peak_steps)
    libraries = [chosen.http] if chosen.http else [name for name in LIBRARIES if find_spec(name)]
    found = []
    pin(0)
    with server() as origin:
        for one in findings(chosen.names or NAMES, scale, origin, libraries):
            found.append(one)
            _progress(f"{one.figure.name} {one.library}".strip())
    _progress("")
    print(_ROW.format("figure", "what", "gate", "aim", "ours", "", "seen"))
    for one in found:
        print(_row(one))
    missed = sum(one.verdict == "MISSED" for one in found)
    print(
        f"\n{len(found)} figures, {missed} over their gate; time is noisy, so the exit code is 0 all the same"
    )


def findings(names: list[str], scale: Scale, origin: str, libraries: list[str]) -> Iterator[Found]:
    """Measure the figures that were asked for, and those that come along with them for nothing."""
    for library in libraries:
        for measure in _wanted(PER_LIBRARY, names):
            yield from measure(scale, origin, library)
    for measure in _wanted(ONCE, names):
        yield from measure(scale, origin, libraries[0])


def _wanted(measures: dict, names: list[str]) -> list[Measure]:
    return [measure for measure, figures in measures.items() if any(one.name in names for one in figures)]


def _chosen() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures our speed beside its bounds."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="measure less, in a minute or two")
    parser.add_argument("--full", action="store_true", help="measure a run of very many requests too")
    parser.add_argument("--http", choices=LIBRARIES, help="only over this library")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in NAMES]
    if unknown:
        parser.error(f"no figure {unknown[0]!r}; there are {', '.join(NAMES)}")
    return chosen


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text and f'measured {text}'}")
        sys.stderr.flush()


def _row(one: Found) -> str:
    figure = one.figure
    title = f"{figure.title} ({one.library})" if one.library else figure.title
    bounds = (_shown(value, figure.unit) for value in (figure.gate, figure.aim, one.value))
    return _ROW.format(figure.name, title, *bounds, one.verdict, one.note).rstrip()


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    number = f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.2g}"
    return f"{number}{unit}" if unit == "x" else f"{number} {unit}"


if __name__ == "__main__":
    main()
