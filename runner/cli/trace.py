"""`runner trace push`: sends traces out of files to OpenTelemetry, and says what became of each span."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runner.cli.delivery import hush_grpc
from runner.cli.options import Options
from runner.cli.output import Output, outputs, problem_line
from runner.core.redact import mask_url
from runner.core.replay import renew_ids, shift_times
from runner.core.trace import SpanRecord
from runner.core.trace_document import read_traces
from runner.errors import FlowError, Problem, SurroundingsError
from runner.runtime.exporters import Answer, Sender, attempts, make_sender
from runner.runtime.files import read_document
from runner.runtime.otlp import BATCH_SIZE
from runner.runtime.otlp_settings import Target, target_of
from runner.runtime.sdk_spans import resource_attributes
from runner.runtime.spool import is_spool, line_of, settle

_AROUND: Final = 3
_TIMEOUT: Final = 10.0  # seconds for one batch
_PATIENCE: Final = 30.0  # seconds that a backend which is busy is waited for, all in all
_MOST_BYTES: Final = 256 * 1024 * 1024  # of a file: a spool holds all that a long run has sent


@dataclass(slots=True)
class Parcel:
    """The spans of one file, and what became of them."""

    path: str
    records: list[SpanRecord]
    read: int  # bytes of the file that they were read from: whole lines
    left: list[SpanRecord] = field(default_factory=list)
    missing: int = 0  # fewer than are left when a backend does not say which ones it has rejected
    reason: str = ""


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Send the files and return the exit code: 3 when not everything arrived.

    Raises FlowError for everything that is wrong with the files, before anything is sent.
    """
    out, err = outputs(environ)
    parcels, target = _prepare(options, environ, err)
    hush_grpc()
    sender = make_sender(target)
    away = ""  # why the backend takes nothing more
    until = time.monotonic() + _PATIENCE
    trouble = False
    for parcel in parcels:
        if options.new_ids:
            renew_ids(parcel.records, os.urandom)
        if options.shift_to_now:
            shift_times(parcel.records, time.time_ns())
        away = _send(sender, parcel, away, until)
        trouble |= not _settle(parcel, mask_url(target.url), keep=options.keep, out=out, err=err)
    sender.close()
    return _AROUND if trouble or out.trouble else 0


def _prepare(options: Options, environ: Mapping[str, str], err: Output) -> tuple[list[Parcel], Target]:
    """Read all files before anything is sent; raises FlowError with all that is wrong."""
    problems: list[Problem] = []
    parcels: list[Parcel] = []
    for path in {Path(name).resolve(): name for name in options.files}.values():
        try:
            data = read_document(path, most := options.max_document or _MOST_BYTES)
            traces = read_traces(data, path, max_bytes=most)
        except FlowError as error:
            problems += error.problems
            continue
        for trace in traces:
            for problem in trace.warnings:
                err.line(problem_line(problem))
        records = [record for trace in traces for record in trace.records]
        parcels.append(Parcel(path, records, data.rfind(b"\n") + 1))
    try:
        target = target_of(environ, options.otlp_endpoint, timeout=_TIMEOUT)
    except SurroundingsError as error:
        problems.append(Problem("usage.otlp", "--otlp-endpoint", str(error)))
    if problems:
        raise FlowError(problems)
    return parcels, target


def _send(sender: Sender, parcel: Parcel, away: str, until: float) -> str:
    """Send what is in a file; returns why the backend would take nothing more, if that is so."""

    def may_repeat(answer: Answer, pause: float) -> bool:
        wait = max(pause, answer.after or 0.0)
        if not answer.reached or time.monotonic() + wait > until:
            return False
        time.sleep(wait)
        return True

    for batch in _batches(parcel.records):
        if away:
            parcel.left += batch
            parcel.missing += len(batch)
            continue
        for part, answer in attempts(sender, batch, may_repeat):
            if answer.reason:
                parcel.left += part
                parcel.missing += answer.missing(len(part))
                parcel.reason = answer.reason
            if answer.again:
                away = answer.reason
    parcel.reason = parcel.reason or away
    return away


def _batches(records: Sequence[SpanRecord]) -> list[Sequence[SpanRecord]]:
    return [records[start : start + BATCH_SIZE] for start in range(0, len(records), BATCH_SIZE)]


def _settle(parcel: Parcel, url: str, *, keep: bool, out: Output, err: Output) -> bool:
    """Say what became of a file, and return whether all is well. Of a spool file only the rest stays."""
    path, total = Path(parcel.path), len(parcel.records)
    is_removed, is_changed = False, True
    if is_spool(path) and not keep and len(parcel.left) < total:
        lines = [line_of(batch, resource_attributes()) for batch in _batches(parcel.left)]
        try:
            is_removed = settle(path, parcel.read, lines)
        except SurroundingsError as error:
            err.line(f"{error}; a push of it would send what has arrived once more")
            is_changed = False
    if not parcel.left:
        told = "; the file is removed" if is_removed else ""
        out.line(f"{parcel.path}: {total} spans delivered to {url}{told}")
        return is_changed
    what = f"{parcel.missing} of {total} spans were not delivered to {url}: {parcel.reason}"
    err.line(f"{parcel.path}: {what}; they stay in the file")
    return False
