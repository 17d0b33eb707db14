"""`python -m benchmarks [NAME…] [--quick] [--full] [--http LIBRARY]`; README.md says how to read the table."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

from benchmarks.figures import FULL, NAMES, ONCE, PER_LIBRARY, QUICK, Found, Measure, Scale
from benchmarks.processes import LIBRARIES, pin, server

_ROW = "{:<11} {:<62} {:>7} {:>7} {:>9} {:<7} {}"


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
        f"\n{len(found)} figures, {missed} over their gate; times are noisy, so this leaves with 0 all the same"
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
    over = f" ({one.library})" if one.library else ""

    def shown(value: float | None) -> str:
        return (
            "" if value is None else f"{value:.3g}{figure.unit if figure.unit == 'x' else f' {figure.unit}'}"
        )

    return _ROW.format(
        figure.name,
        figure.title + over,
        shown(figure.gate),
        shown(figure.aim),
        shown(one.value),
        one.verdict,
        one.note,
    )


if __name__ == "__main__":
    main()
