"""The state database: runs, what they were given, and the rows of their journals.

SQLite or PostgreSQL through SQLAlchemy. Every method is one transaction, may be called from any
thread, and raises SurroundingsError when the database cannot do it. Whatever a run was given or has
made is encrypted (`runner.runtime.vault`); ids, times, states and the flow's name are not.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal

from runner.core.commands import Json
from runner.core.journal import Kept, Row, decode
from runner.errors import RunnerError, SurroundingsError
from runner.runtime.database import Database

if TYPE_CHECKING:  # the core install does not have it
    from sqlalchemy import Column, Connection, RowMapping, Select, Table
    from sqlalchemy import Row as SqlRow

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "timed_out"]
DEFAULT_URL: Final = "sqlite:///.runner/state.db"
_SOME: Final = 500
ENDED: Final = ("succeeded", "failed", "cancelled", "timed_out")


@dataclass(slots=True, kw_only=True)
class RunRow:
    """A run as the database has it. Times are nanoseconds since 1970.

    `epoch` counts the processes that have claimed the run, `handovers` those that gave it back. Of the runs
    with one `concurrency_key` only `concurrency_limit` are `admitted` to the queue before they have ended.
    """

    id: str
    flow: str
    origin: str
    execution: str
    trace: str
    created: int
    state: State = "queued"
    started: int | None = None
    ended: int | None = None
    epoch: int = 0
    handovers: int = 0
    priority: int = 0
    owner: str = ""
    reason: str = ""
    previous: str | None = None
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    admitted: bool = True
    not_before: int | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What one process had of a run. Times are nanoseconds since 1970; `ended` when it gave the run back."""

    epoch: int
    owner: str
    began: int
    ended: int | None = None


@dataclass(slots=True)
class Claim:
    """A run that is ours to carry on: its row, what it was given, what its journal has, who had it."""

    row: RunRow
    given: dict[str, Json]
    kept: Sequence[Kept]
    files: Mapping[str, bytes]
    parts: Sequence[Part] = ()
    bundle: tuple[tuple[str, str], ...] = ()  # (path, hash) of each file


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended, with its IntegrationFlow document.

    With `upload` the document is due to be uploaded, unless the run was cancelled.
    """

    run: str
    epoch: int
    state: State
    result: Json
    trace: bytes = b""
    reason: str = ""
    upload: bool = False


class UnreadableError(SurroundingsError):
    """What a run was given, or its journal, cannot be decrypted; `row` is the run, claimed all the same."""

    def __init__(self, row: RunRow, why: str) -> None:
        self.row = row
        super().__init__(why)


class Store(Database):
    """The state database at a url; it and its key are made when they are not there.

    Raises SurroundingsError when there is no such database, no key for it, or no driver.
    """

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        super().__init__(url, environ)
        self._contents: dict[str, bytes] = {}

    # --- a run from its beginning to its end

    def add(self, row: RunRow, given: Mapping[str, Json], files: Mapping[str, bytes]) -> bool:
        """Take a new run; False when there is one with that id already, which stays as it is."""
        with self.begin() as connection:
            return self.add_in(connection, row, given, files)

    def add_in(
        self, connection: Connection, row: RunRow, given: Mapping[str, Json], files: Mapping[str, bytes]
    ) -> bool:
        """Do as `add` does, in a transaction of the caller."""
        tables = self.tables
        new = tables.insert_new(connection, tables.runs).returning(tables.runs.c.id)
        values = {**asdict(row), "given": self._seal(dict(given))}
        if connection.execute(new, values).one_or_none() is None:
            return False
        tables.lock_contents(connection, shared=True)
        for path, data in files.items():
            name = sha256(data).hexdigest()
            connection.execute(
                tables.insert_new(connection, tables.contents), {"hash": name, "data": self.vault.seal(data)}
            )
            connection.execute(tables.files.insert(), {"run": row.id, "path": path, "hash": name})
        return True

    def claim(self, run_id: str, owner: str) -> Claim | None:
        """Become the one who carries the run on; None when it is not there, or has ended.

        Whoever had it before is refused from now on: its epoch is over. Raises UnreadableError.
        """
        for found in self.claim_all([run_id], owner):
            if isinstance(found, UnreadableError):
                raise found
            return found
        return None

    def claim_all(
        self, ids: Sequence[str], owner: str, of: Collection[str] | None = None
    ) -> list[Claim | UnreadableError]:
        """Do as `claim` does for several runs, only those of the owners `of` if some are given.

        Those whose end was asked for while nobody could hear it end here.
        """
        tables, runs = self.tables, self.tables.runs
        free = runs.c.id.in_(ids) & runs.c.state.notin_(ENDED)
        if of is not None:
            free &= runs.c.owner.in_(of)
        with self.begin() as connection:
            query = runs.select().where(free).order_by(runs.c.id).with_for_update()
            found = {values["id"]: values for values in connection.execute(query).mappings()}
            over = [one for one in found if found[one]["cancelled"]]
            if over:
                connection.execute(runs.update().where(runs.c.id.in_(over)).values(self._waiting()))
            found = {one: values for one, values in found.items() if one not in over}
            now, mine = time.time_ns(), list(found)
            if not mine:
                return []
            changes = {
                "epoch": runs.c.epoch + 1,
                "owner": owner,
                "state": "running",
                "started": tables.func.coalesce(runs.c.started, now),
            }
            connection.execute(runs.update().where(runs.c.id.in_(mine)).values(changes))
            connection.execute(
                tables.claims.insert(),
                [
                    {"run": one, "epoch": found[one]["epoch"] + 1, "owner": owner, "began": now}
                    for one in mine
                ],
            )
            rows = self._by_run(connection, tables.rows, mine, tables.rows.c.seq)
            parts = self._by_run(connection, tables.claims, mine, tables.claims.c.epoch)
            files = self._by_run(connection, tables.files, mine, tables.files.c.path)
            self._fetch(connection, {one.hash for some in files.values() for one in some})
        claims: list[Claim | UnreadableError] = []
        for one in (one for one in ids if one in found):
            values = found[one]
            row = _run_row(values)
            row.epoch, row.owner, row.state, row.started = row.epoch + 1, owner, "running", row.started or now
            claims.append(self._claimed(row, values["given"], rows[one], files[one], parts[one]))
        return claims

    def _claimed(
        self, row: RunRow, given: bytes, rows: Sequence[SqlRow[Any]], files: Sequence[SqlRow[Any]],
        parts: Sequence[SqlRow[Any]],
    ) -> Claim | UnreadableError:  # fmt: skip
        bundle = tuple((file.path, file.hash) for file in files)
        try:
            opened = self._open(given)
            return Claim(row, opened, self._kept(rows), self._opened_files(files), _parts(parts), bundle)
        except SurroundingsError as error:
            return UnreadableError(row, str(error))
        except _MISREAD as error:  # must end this run, and no other
            what = f"what is kept of run {row.id!r} cannot be read: {type(error).__name__}"
            return UnreadableError(row, what)

    def _by_run(
        self, connection: Connection, table: Table, ids: Sequence[str], order: Column[Any]
    ) -> dict[str, list[SqlRow[Any]]]:
        """Return the rows of a table that belong to runs."""
        found: dict[str, list[SqlRow[Any]]] = {one: [] for one in ids}
        for row in connection.execute(table.select().where(table.c.run.in_(ids)).order_by(order)):
            found[row.run].append(row)
        return found

    def _fetch(self, connection: Connection, hashes: Iterable[str]) -> None:
        """Have the contents with these hashes at hand, sealed; they never change."""
        contents = self.tables.contents
        missing = [one for one in hashes if one not in self._contents]
        if missing:
            if len(self._contents) > _MOST_CONTENTS:
                self._contents = {}
            found = connection.execute(contents.select().where(contents.c.hash.in_(missing)))
            self._contents = self._contents | {one.hash: one.data for one in found}

    def _opened_files(self, files: Sequence[SqlRow[Any]]) -> dict[str, bytes]:
        contents = self._contents
        return {one.path: self.vault.open(contents[one.hash]) for one in files if one.hash in contents}

    def put(self, batch: Sequence[tuple[str, int, Row]]) -> list[bool]:
        """Write rows as (run, epoch, row) in one transaction; returns for each whether its epoch goes on.

        A row that is there already stays as it is: it was written by a call whose answer was lost.
        """
        tables = self.tables
        runs = tables.runs
        ids = sorted({run for run, _, _ in batch})
        sealed = [
            (run, epoch, {"run": run, "path": row.path, "seq": row.seq, "kind": row.kind,
                          "data": self.vault.seal(row.encode().encode("utf-8", "surrogatepass"))})
            for run, epoch, row in batch
        ]  # fmt: skip
        with self.begin() as connection:
            # The lock lets a take-over and this transaction wait for each other.
            query = tables.select(runs.c.id, runs.c.epoch).where(runs.c.id.in_(ids)).order_by(runs.c.id)
            found = connection.execute(query.with_for_update(read=True))
            epochs = {one.id: one.epoch for one in found}
            fitting = [values for run, epoch, values in sealed if epochs.get(run) == epoch]
            if fitting:
                connection.execute(tables.insert_new(connection, tables.rows), fitting)
        return [epochs.get(run) == epoch for run, epoch, _ in sealed]

    def release(self, owner: str, ids: Collection[str]) -> None:
        """Let runs be carried on by somebody else whose owner has died; those that were to end have ended."""
        runs = self.tables.runs
        his = (runs.c.owner == owner) & runs.c.id.in_(list(ids)) & (runs.c.state == "running")
        with self.begin() as connection:
            connection.execute(runs.update().where(his).values(self._waiting()))

    def asked_to_end(self, ids: Collection[str]) -> list[str]:
        """Return those of these runs whose end somebody has asked for."""
        runs = self.tables.runs
        query = self.tables.select(runs.c.id).where(runs.c.id.in_(list(ids)), runs.c.cancelled)
        with self._read() as connection:
            return list(connection.execute(query).scalars())

    def epochs(self, ids: Collection[str]) -> dict[str, int]:
        """Return the epochs of runs that have not ended."""
        runs = self.tables.runs
        query = self.tables.select(runs.c.id, runs.c.epoch).where(
            runs.c.id.in_(list(ids)), runs.c.state.notin_(ENDED)
        )
        with self._read() as connection:
            return {one.id: one.epoch for one in connection.execute(query)}

    def finish(self, end: End) -> bool:
        """Write how a run ended; False when its epoch is over."""
        return self.finish_all([end])[0]

    def finish_all(
        self, ends: Sequence[End], also: Callable[[Connection, Collection[str]], None] | None = None
    ) -> list[bool]:
        """Do as `finish` does for several runs; `also` gets those of them that are over in any case."""
        runs = self.tables.runs
        sealed = [self._changes(end) for end in ends]
        written: list[bool] = []
        with self.begin() as connection:
            for end, changes in zip(ends, sealed, strict=True):
                done = self._change_in(connection, end.run, end.epoch, changes)
                if not done:  # perhaps by ourselves, and the answer was lost
                    query = self.tables.select(runs.c.epoch, runs.c.state).where(runs.c.id == end.run)
                    row = connection.execute(query).one_or_none()
                    done = row is not None and row.epoch == end.epoch and row.state in ENDED
                written.append(done)
            if also is not None:
                also(connection, [end.run for end, done in zip(ends, written, strict=True) if done])
        return written

    def _changes(self, end: End) -> dict[str, Any]:
        now = time.time_ns()
        return {
            "state": end.state,
            "ended": now,
            "upload_due": now if end.upload and end.state != "cancelled" else None,
            "result": self._seal(end.result),
            "spans": self.vault.seal(zlib.compress(end.trace, 1)),
            "reason": end.reason,
        }

    def hand_over(self, run_id: str, epoch: int) -> bool:
        """Give the run back, to be carried on by somebody else unless its end was asked for.

        False when its epoch is over.
        """
        runs, claims = self.tables.runs, self.tables.claims
        mine = (claims.c.run == run_id) & (claims.c.epoch == epoch)
        with self.begin() as connection:
            connection.execute(claims.update().where(mine).values(ended=time.time_ns()))
            changes = {**self._waiting(), "handovers": runs.c.handovers + 1}
            return self._change_in(connection, run_id, epoch, changes)

    def _waiting(self) -> dict[str, Any]:
        """Return what makes a run wait for the next to carry it on; one whose end was asked for ends."""
        case, cancelled = self.tables.case, self.tables.runs.c.cancelled
        state = case((cancelled, "cancelled"), else_="queued")
        return {"state": state, "ended": case((cancelled, time.time_ns()), else_=None), "owner": ""}

    def _change_in(
        self, connection: Connection, run_id: str, epoch: int, changes: Mapping[str, object]
    ) -> bool:
        runs = self.tables.runs
        mine = (runs.c.id == run_id) & (runs.c.epoch == epoch) & runs.c.state.notin_(ENDED)
        return bool(connection.execute(runs.update().where(mine).values(**changes)).rowcount)

    def cancel(self, run_id: str) -> State | None:
        """Ask for the end of a run; one that waits ends at once. Returns its state, None: no such run."""
        runs = self.tables.runs
        with self.begin() as connection:
            this = runs.c.id == run_id
            state: State | None = connection.execute(
                self.tables.select(runs.c.state).where(this).with_for_update()
            ).scalar()
            if state == "queued":
                changes = {"state": "cancelled", "ended": time.time_ns(), "cancelled": True}
                connection.execute(runs.update().where(this).values(changes))
                return "cancelled"
            if state == "running":
                connection.execute(runs.update().where(this).values(cancelled=True))
            return state

    def reserve(self, host: str, count: int, interval: int) -> int:
        """Take the next `count` turns of a host, `interval` ns apart, from all who use this database.

        Returns how many ns from now the first is: `runner.runtime.pace`.
        """
        with self.begin() as connection:
            name = sha256(host.encode()).hexdigest()
            wait: int = self.tables.reserve_turns(connection, name, count * interval)
            return max(0, wait)

    # --- looking

    def get(self, run_id: str) -> RunRow | None:
        """Return a run."""
        runs = self.tables.runs
        with self._read() as connection:
            values = connection.execute(runs.select().where(runs.c.id == run_id)).mappings().one_or_none()
            return None if values is None else _run_row(values)

    def given(self, run_id: str) -> dict[str, Json]:
        """Return what a run was given; raises KeyError."""
        given: dict[str, Json] = self._opened(run_id, "given")
        return given

    def result(self, run_id: str) -> Json:
        """Return what `finish` was given, None while the run goes on; raises KeyError."""
        return self._opened(run_id, "result")

    def trace(self, run_id: str) -> bytes | None:
        """Return the IntegrationFlow document of a run, None while it goes on; raises KeyError."""
        sealed = self._sealed(run_id, "spans")
        return None if sealed is None else zlib.decompress(self.vault.open(sealed))

    def _opened(self, run_id: str, column: str) -> Json:
        sealed = self._sealed(run_id, column)
        return None if sealed is None else self._open(sealed)

    def _sealed(self, run_id: str, column: str) -> bytes | None:
        runs = self.tables.runs
        with self._read() as connection:
            query = self.tables.select(runs.c[column]).where(runs.c.id == run_id)
            found = connection.execute(query).one_or_none()
        if found is None:
            raise KeyError(run_id)
        sealed: bytes | None = found[0]
        return sealed

    def files(self, run_id: str) -> dict[str, bytes]:
        """Return the documents and files of a run by their path."""
        files = self.tables.files
        with self._read() as connection:
            found = self._by_run(connection, files, [run_id], files.c.path)[run_id]
            self._fetch(connection, {one.hash for one in found})
        return self._opened_files(found)

    def kept(self, run_id: str) -> list[Kept]:
        """Return the journal of a run, in order."""
        rows = self.tables.rows
        with self._read() as connection:
            found = self._by_run(connection, rows, [run_id], rows.c.seq)[run_id]
        return self._kept(found)

    def parts(self, run_id: str) -> list[Part]:
        """Return what each process had of a run, in order."""
        claims = self.tables.claims
        with self._read() as connection:
            return _parts(self._by_run(connection, claims, [run_id], claims.c.epoch)[run_id])

    def _kept(self, rows: Sequence[SqlRow[Any]]) -> list[Kept]:
        return [
            decode(row.path, row.seq, row.kind, self.vault.open(row.data).decode("utf-8", "surrogatepass"))
            for row in rows
        ]

    def runs(
        self, *, states: Collection[str] = (), flow: str | None = None, before: str | None = None,
        limit: int = 50,
    ) -> list[RunRow]:  # fmt: skip
        """Return runs, the newest first; `before` is the id of the last one on the page before."""
        runs = self.tables.runs
        query: Select[Any] = runs.select().order_by(runs.c.created.desc(), runs.c.id.desc()).limit(limit)
        if states:
            query = query.where(runs.c.state.in_(states))
        if flow is not None:
            query = query.where(runs.c.flow == flow)
        with self._read() as connection:
            if before is not None:
                created = connection.execute(
                    self.tables.select(runs.c.created).where(runs.c.id == before)
                ).scalar()
                older = (runs.c.created == created) & (runs.c.id < before)
                query = query.where((runs.c.created < created) | older)
            return [_run_row(values) for values in connection.execute(query).mappings()]

    def ended_before(self, ns: int) -> list[str]:
        """Return the runs that ended before a time."""
        runs = self.tables.runs
        query = self.tables.select(runs.c.id).where(runs.c.ended < ns, runs.c.state.in_(ENDED))
        with self._read() as connection:
            return list(connection.execute(query).scalars())

    def count_in(self, connection: Connection, state: State) -> int:
        """Return how many runs there are in a state, in a transaction of the caller."""
        runs = self.tables.runs
        query = self.tables.select(self.tables.func.count()).where(runs.c.state == state)
        number: int = connection.execute(query).scalar_one()
        return number

    def counts(self, states: Collection[str] = ()) -> dict[str, int]:
        """Return how many runs there are in each state, or in these; an index finds few among many."""
        runs = self.tables.runs
        number = self.tables.func.count().label("number")
        query = self.tables.select(runs.c.state, number).group_by(runs.c.state)
        if states:
            query = query.where(runs.c.state.in_(states))
        with self._read() as connection:
            return {one.state: one.number for one in connection.execute(query)}

    # --- taking away, and starting from what is there

    def delete(self, ids: Iterable[str]) -> list[str]:
        """Delete ended runs with all they have; returns those that were there and had ended.

        They go some at a time: databases bound how many ids a statement may name, and workers are to
        come in between.
        """
        named = list(ids)
        deleted: list[str] = []
        for at in range(0, len(named), _SOME):
            deleted += self._delete(named[at : at + _SOME])
        tables = self.tables
        with self.begin() as connection:
            tables.lock_contents(connection, shared=False)
            used = tables.select(tables.files.c.hash)
            connection.execute(tables.contents.delete().where(tables.contents.c.hash.notin_(used)))
        return deleted

    def _delete(self, ids: Sequence[str]) -> list[str]:
        tables = self.tables
        with self.begin() as connection:
            query = tables.select(tables.runs.c.id).where(
                tables.runs.c.id.in_(ids), tables.runs.c.state.in_(ENDED)
            )
            found = list(connection.execute(query).scalars())
            for table, column in (
                (tables.rows, "run"), (tables.files, "run"), (tables.claims, "run"), (tables.runs, "id"),
            ):  # fmt: skip
                connection.execute(table.delete().where(table.c[column].in_(found)))
        return found

    def copy_rows_in(self, connection: Connection, source: str, target: str, paths: Collection[str]) -> None:
        """Copy these rows of a run's journal into another's, in a transaction of the caller."""
        rows = self.tables.rows
        for row in connection.execute(rows.select().where(rows.c.run == source)).mappings().all():
            if row["path"] in paths:
                connection.execute(rows.insert(), {**row, "run": target})


# Whatever reading can raise that is not what a runner has written.
_MISREAD: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    RunnerError,
)
_MOST_CONTENTS: Final = 256
_RUN_FIELDS: Final = tuple(one.name for one in fields(RunRow))


def _run_row(values: RowMapping | Mapping[str, Json]) -> RunRow:
    return RunRow(**{name: values[name] for name in _RUN_FIELDS})


def _parts(rows: Iterable[SqlRow[Any]]) -> list[Part]:
    return [Part(one.epoch, one.owner, one.began, one.ended) for one in rows]
