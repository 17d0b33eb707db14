"""An engine whose run survives the process: every outcome is in the journal before anything follows it.

A resumed run first replays its rows through `Progress`, without performing anything: so it stands
where it stood, its spans are the ones it had, and only what was in flight is done again.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Final

import anyio

from runner.core import names, spans
from runner.core.actions import Action, Interruption, Spot, Start
from runner.core.commands import Outcome, Reply, SendRequest
from runner.core.journal import Kept, Row, span_id
from runner.core.progress import Progress
from runner.core.result import RunResult
from runner.core.trace import Link, SpanRecord
from runner.errors import FencedError, SurroundingsError
from runner.runtime.engine import Engine, EngineOptions
from runner.runtime.files import FileSource
from runner.runtime.http import HttpClient
from runner.runtime.journal import RunJournal
from runner.runtime.store import Part
from runner.runtime.tracing import Recorder

_NOTHING: Final = Outcome("skipped")


class JournalledEngine(Engine):
    """Runs one `Progress` along its journal."""

    def __init__(
        self,
        progress: Progress,
        recorder: Recorder,
        client: HttpClient,
        files: FileSource | None,
        options: EngineOptions,
        journal: RunJournal,
    ) -> None:
        super().__init__(progress, recorder, client, files, options)
        self.journal = journal
        self._starts: dict[str, Start] | None = None  # by path, while rows are replayed
        self._skips: dict[str, Kept] = {}
        self._begun: dict[str, int] = {}  # when containers began, by path
        self._ended_at: dict[str, int] = {}
        self._cause: int | None = None  # when the leaf ended whose consequences are followed
        self._arrived: list[Row] = []
        self._more = anyio.Event()
        self.given_up: FencedError | None = None
        self._part: SpanRecord | None = None  # this worker's

    # --- replay

    def _begin(self) -> Start | None:
        starts = self.replay()
        if self._group is not None and self.outcome is None:
            self._group.start_soon(self._write)
            for start in starts:
                self._group.start_soon(self._leaf, start)
        return None

    def replay(self) -> list[Start]:
        """Bring the run to where its journal ends; returns the leaves that are to be run now.

        Raises SurroundingsError when a row does not belong to this flow.
        """
        leaves = [kept for kept in self.journal.kept if kept.kind == "leaf"]
        self._skips = {kept.path: kept for kept in self.journal.kept if kept.kind == "skip"}
        self._note_beginnings()
        self._starts = {}
        self._follow(self.progress.start())
        for kept in leaves:
            start = self._starts.pop(kept.path, None)
            if start is None:
                what = f"the journal has a row at {kept.path!r}, where the flow has nothing to run"
                raise SurroundingsError(f"run {self.journal.row.id!r} cannot go on: {what}")
            start.program.close()
            self._restore(start, kept)
            self._done(kept.path, kept.outcome)
        starts, self._starts = list(self._starts.values()), None
        return starts

    def _note_beginnings(self) -> None:
        """Note when each container began: with the first thing in it that there is a row of."""
        for kept in self.journal.kept:
            if not kept.records:
                continue
            start, path = kept.records[0].start, kept.path
            while path := _around(path):
                self._begun[path] = min(start, self._begun.get(path, start))

    def _restore(self, start: Start, kept: Kept) -> None:
        """Put the spans back that the row has, as they were before the step was closed."""
        own, *below = kept.records if self._is_ours(kept) else self._copied(start.spot, kept)
        if start.after:
            waited = {names.DELAY_MS: round(start.after * 1000)}
            self.recorder.event(
                self._spans[start.spot.parent], names.EVENT_POLL_WAIT, waited,
                at=own.start - round(start.after * 1e9),
            )  # fmt: skip
        self._ended_at[kept.path] = own.end or own.start
        own.end, own.ended = None, False
        self.recorder.adopt(own)
        for record in below:
            self.recorder.adopt(record)
        self._spans[kept.path] = own
        outcome = kept.outcome
        for name in outcome.tainted:
            self.recorder.masker.add(outcome.outputs.get(name))

    def _is_ours(self, kept: Kept) -> bool:
        return kept.records[0].trace_id == self.recorder.trace_id

    def _copied(self, spot: Spot, kept: Kept) -> list[SpanRecord]:
        """Return a span of no length for a step that another run has done, linked to its span there."""
        old = kept.records[0]
        parent = self._spans[spot.parent]
        record = SpanRecord(
            old.name, self.recorder.trace_id, span_id(self.journal.row.id, spot.path), parent.span_id,
            sequence=0, start=self.root.start,
            attributes={
                **spans.spot_attributes(spot),
                names.EXECUTION_ID: self.recorder.execution_id,
                names.PREVIOUS_RUN: self.journal.row.previous,
            },
        )  # fmt: skip
        record.end = record.start
        record.links = (Link(old.trace_id, old.span_id),)
        return [record]

    # --- while it runs

    def _follow(self, actions: Iterable[Action]) -> Start | None:
        others: list[Action] = []
        for action in actions:
            if not isinstance(action, Start):
                others.append(action)
            elif self._starts is not None:
                self._starts[action.spot.path] = action
            elif self._group is not None:
                self._group.start_soon(self._leaf, action)
        super()._follow(others)
        if self.outcome is not None:
            self._more.set()
        return None

    async def _expire(self, path: str, seconds: float) -> None:
        await super()._expire(path, self._left(seconds, self._spans.get(path)))

    async def _end_in_time(self, seconds: float) -> None:
        await super()._end_in_time(self._left(seconds, self.root))

    def _left(self, seconds: float, span: SpanRecord | None) -> float:
        """Return what is left of the time for what this span is; another process may have begun it."""
        return seconds if span is None else seconds - (self.recorder.now() - span.start) / 1e9

    async def _send(self, command: SendRequest, parent: SpanRecord, task_id: str, task_type: str) -> Reply:
        if self.journal.permit is not None:
            await self.journal.permit()
        return await super()._send(command, parent, task_id, task_type)

    async def _leaf(self, start: Start) -> None:
        """Run a leaf and hand over its outcome; what follows from it waits until it is written."""
        path = start.spot.path
        outcome = await self._run_leaf(start)
        if outcome.ended_by is not None:
            self._follow(self.progress.done(path, outcome))  # an interruption is not kept
            return
        at = self._ended_at[path] = self.recorder.now()
        self._hand_in(Row(path, 0, "leaf", outcome, self._span_texts(path, at)))

    def _span_texts(self, path: str, at: int) -> list[str]:
        span = self._spans.get(path)  # none: the step was withheld, and never began
        return [] if span is None else self.recorder.texts(span, at)

    def _hand_in(self, row: Row) -> None:
        self.journal.number([row])
        self._arrived.append(row)
        self._more.set()

    async def _write(self) -> None:
        """Write what arrives, and let go on what waited for it, in the order of arrival."""
        while self.outcome is None:
            await self._more.wait()
            self._more = anyio.Event()
            rows, self._arrived = self._arrived, []
            try:
                await self.journal.put(rows)
            except FencedError as fenced:
                self.give_up(fenced)
                return
            for row in rows:
                if row.kind == "leaf":
                    self._done(row.path, row.outcome)

    def _done(self, path: str, outcome: Outcome) -> None:
        self._cause = self._ended_at.get(path)
        self._follow(self.progress.done(path, outcome))
        self._cause = None

    async def conclude(self, result: RunResult) -> None:
        """Keep how the run ended; raises FencedError when it belongs to somebody else by now."""
        if self.given_up is not None:
            raise self.given_up
        if self._arrived:  # the skips that came last
            await self.journal.put(self._arrived)
        await self.journal.finish(result)

    # --- spans

    def _identity(self, spot: Spot) -> tuple[int | None, int | None]:
        row = self.journal.row
        kept = self._skips.get(spot.path)
        begun = row.started if not spot.path else self._begun.get(spot.path)
        return span_id(row.id, spot.path), begun if kept is None else kept.records[0].start

    def _open(self, spot: Spot) -> SpanRecord:
        span = super()._open(spot)
        if not spot.path and self.options.trigger == "queue":
            self._open_parts(spot.id)
        previous = self.journal.row.previous
        if not spot.path and previous is not None:
            span.attributes[names.PREVIOUS_RUN] = previous
            trace = int(self.journal.given["previous_trace"], 16)
            span.links = (Link(trace, span_id(previous, "")),)
        return span

    def _open_parts(self, label: str) -> None:
        """Show which worker had which part of the run; the part of this one goes on."""
        parts = self.journal.parts
        for part, after in zip_longest(parts, parts[1:]):
            attributes = spans.part_attributes(label, self.journal.row.id, part.owner, part.epoch)
            if part is parts[0]:
                attributes[names.QUEUE_WAIT_MS] = round((part.began - self.journal.row.created) / 1e6)
            remote = self.recorder.remote_parent
            span = self._part = self.recorder.open(
                names.PROCESS_SPAN, "consumer", self.root, attributes, start=part.began,
                span_id=span_id(self.journal.row.id, f"@{part.epoch}"),
                links=(Link(remote.trace_id, remote.span_id),) if remote else (),
            )  # fmt: skip
            if after is not None:
                self._end_part(span, part, after.began)

    def _end_part(self, span: SpanRecord, part: Part, before: int) -> None:
        """End the part of somebody else, as late as anything is known of it."""
        if part.ended is not None:
            self.recorder.end(span, attributes={names.CLAIM_END: "handed_over"}, at=part.ended)
            return
        ends = [record.end or 0 for kept in self.journal.kept for record in kept.records[:1]]
        last = max((end for end in ends if end <= before), default=part.began)
        self.recorder.end(span, attributes={names.CLAIM_END: "lost"}, at=last)

    def _close(self, spot: Spot, outcome: Outcome, at: int | None = None) -> None:
        is_new = spot.path not in self._spans
        if not spot.path and self._part is not None:
            self.recorder.end(self._part)
        # A container ends with what was last in it, and not when that was written.
        super()._close(spot, outcome, self._ended_at.pop(spot.path, self._cause or at))
        if is_new and spot.path not in self._skips:
            self._hand_in(Row(spot.path, 0, "skip", _NOTHING, [self.recorder.text(self.recorder.count - 1)]))

    # --- giving the run up

    def give_up(self, why: FencedError) -> None:
        """Stop at once and leave the run as the journal has it, for somebody else; tell nobody of its end."""
        self.given_up = why
        self.recorder.silence()
        if self._group is not None:
            self._group.cancel_scope.cancel()

    def _abandon(self, by: Interruption) -> None:
        if self.given_up is None:
            self.recorder.silence()  # the run has not ended: somebody may carry it on
            super()._abandon(by)
        else:
            self.outcome = Outcome("failed", ended_by="cancelled")


def _around(path: str) -> str:
    """Return the path of the container around a path: of a poll, an item, a step of a sub-flow."""
    for sign in ("~", "[", "/"):
        head, found, tail = path.rpartition(sign)
        if found and "/" not in tail:
            return head
    return ""
