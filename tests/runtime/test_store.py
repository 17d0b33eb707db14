"""The state database, on each of its engines (SEMANTICS, Journal and Secrets)."""

import stat
from contextlib import closing
from pathlib import Path

import pytest

from runner.core.commands import Outcome
from runner.core.journal import Row
from runner.errors import SurroundingsError
from runner.runtime.store import End, RunRow, Store, UnreadableError
from runner.runtime.vault import KEY_VARIABLE, Vault, key_id, new_key

CANARY = "canary-7f3a9d-secret"


def run_row(run_id="r", created=1, **changes):
    values = {"flow": "F", "origin": run_id, "execution": "0" * 26, "trace": "1" * 32, **changes}
    return RunRow(id=run_id, created=created, **values)


def row(path, seq=0, **outputs):
    return Row(path, seq, "leaf", Outcome("succeeded", outputs))


def test_the_same_id_is_taken_once(store):
    assert store.add(run_row(), {"inputs": {"a": 1}}, {"f.json": b"{}"})
    assert not store.add(run_row(flow="Other"), {"inputs": {}}, {"g.json": b"{}"})
    assert store.get("r").flow == "F"
    assert store.given("r") == {"inputs": {"a": 1}}
    assert store.files("r") == {"f.json": b"{}"}


def test_a_claim_ends_the_epoch_of_whoever_had_the_run(store):
    store.add(run_row(), {}, {})
    first = store.claim("r", "one")
    assert store.put([("r", first.row.epoch, row("a", x=1))]) == [True]
    second = store.claim("r", "two")
    assert (second.row.epoch, second.row.owner, second.row.state) == (2, "two", "running")
    assert [(kept.path, kept.outcome.outputs) for kept in second.kept] == [("a", {"x": 1})]
    assert store.put([("r", 1, row("b", 1)), ("r", 2, row("c", 1))]) == [False, True]
    assert [kept.path for kept in store.kept("r")] == ["a", "c"]
    assert not store.finish(End("r", 1, "succeeded", {}))
    assert not store.hand_over("r", 1)
    assert store.finish(End("r", 2, "failed", {"steps": []}, b"trace"))
    assert store.claim("r", "three") is None
    assert (store.result("r"), store.trace("r"), store.get("r").state) == ({"steps": []}, b"trace", "failed")


def test_a_row_that_is_written_twice_stays_as_it_was(store):
    store.add(run_row(), {}, {})
    store.claim("r", "one")
    assert store.put([("r", 1, row("a", x=1))]) == [True]
    assert store.put([("r", 1, row("a", x=2)), ("r", 1, row("b", 1))]) == [True, True]
    assert [(kept.path, kept.outcome.outputs) for kept in store.kept("r")] == [("a", {"x": 1}), ("b", {})]


def test_a_run_that_is_given_back_waits_again(store):
    store.add(run_row(), {}, {})
    store.claim("r", "one")
    assert store.hand_over("r", 1)
    after = store.get("r")
    assert (after.state, after.handovers, after.owner) == ("queued", 1, "")


def test_cancelling_ends_a_run_that_waits_and_asks_one_that_runs(store):
    store.add(run_row("waits"), {}, {})
    store.add(run_row("runs"), {}, {})
    store.claim("runs", "one")
    assert store.cancel("waits") == "cancelled"
    assert store.cancel("runs") == "running"
    assert store.get("runs").cancelled
    assert store.cancel("nobody") is None
    assert store.cancel("waits") == "cancelled"


@pytest.mark.parametrize("way", ["hand_over", "release", "claim"])
def test_a_run_that_is_to_end_is_not_carried_on_by_the_next(store, way):
    store.add(run_row("stays"), {}, {})
    store.add(run_row("ends"), {}, {})
    for run_id in ("stays", "ends"):
        store.claim(run_id, "one")
    assert store.cancel("ends") == "running"
    if way == "hand_over":
        assert [store.hand_over(run_id, 1) for run_id in ("stays", "ends")] == [True, True]
    elif way == "release":
        store.release("one", ["stays", "ends"])
    claims = store.claim_all(["stays", "ends"], "two")
    assert [claim.row.id for claim in claims] == ["stays"]
    ended = store.get("ends")
    assert (ended.state, ended.epoch, ended.ended >= ended.started) == ("cancelled", 1, True)
    assert (store.get("stays").state, store.get("stays").ended) == ("running", None)


@pytest.mark.parametrize(
    ("where", "data"),
    [
        ("given", b"\xff"), ("given", b"{"), ("given", b"[" * 200_000),
        ("rows", b"\xff"), ("rows", b"{"), ("rows", b"[]"), ("rows", b"{}"),
        ("rows", b'{"outcome": {"status": "succeeded", "later": 1}, "spans": []}'),
        ("rows", b'{"outcome": {"status": "succeeded"}, "spans": [1]}'),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_read_does_not_keep_the_others_from_being_claimed(tmp_path, where, data):
    with closing(Store(f"sqlite:///{tmp_path}/s.db", {})) as store:
        for run_id in ("bad", "good"):
            store.add(run_row(run_id), {"n": 1}, {})
            store.claim(run_id, "one")
        store.put([("bad", 1, row("a"))])
        sealed = store.vault.seal(data)
        with store.begin() as connection:
            table = store.tables.runs if where == "given" else store.tables.rows
            this = (table.c.id if where == "given" else table.c.run) == "bad"
            changed = {"given" if where == "given" else "data": sealed}
            connection.execute(table.update().where(this).values(changed))
        bad, good = store.claim_all(["bad", "good"], "two")
        assert (bad.row.id, bad.row.epoch, isinstance(bad, UnreadableError)) == ("bad", 2, True)
        assert good.given == {"n": 1}
        with pytest.raises(UnreadableError):
            store.claim("bad", "three")


def test_runs_are_listed_by_page_state_and_flow(store):
    for number in range(5):
        store.add(run_row(f"r{number}", number // 2, flow="FG"[number % 2]), {}, {})
    store.claim("r4", "one")
    assert [one.id for one in store.runs(limit=2)] == ["r4", "r3"]
    assert [one.id for one in store.runs(limit=2, before="r3")] == ["r2", "r1"]
    assert [one.id for one in store.runs(states=["running"])] == ["r4"]
    assert [one.id for one in store.runs(flow="G")] == ["r3", "r1"]
    assert store.counts() == {"queued": 4, "running": 1}


def test_deleting_takes_ended_runs_and_the_files_that_no_other_run_needs(store):
    store.add(run_row("old"), {}, {"f.json": b"shared", "g.json": b"alone"})
    store.add(run_row("new"), {}, {"f.json": b"shared"})
    store.claim("old", "one")
    store.put([("old", 1, row("a"))])
    store.finish(End("old", 1, "succeeded", {}))
    assert store.ended_before(store.get("old").ended + 1) == ["old"]
    assert store.ended_before(store.get("old").ended) == []
    assert store.delete(["old", "new", "nobody"]) == ["old"]
    assert store.get("old") is None
    assert store.kept("old") == []
    assert store.files("new") == {"f.json": b"shared"}
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM flowspan_contents").scalar() == 1


def test_as_many_runs_as_there_are_can_be_deleted(store, monkeypatch):
    monkeypatch.setattr("runner.runtime.store._SOME", 2)
    names = [f"run-{number}" for number in range(5)]
    for name in names:
        store.add(run_row(name), {}, {"f.json": b"shared"})
        store.cancel(name)
    assert sorted(store.delete(names)) == names
    assert store.counts() == {}


def test_rows_are_copied_into_another_run(store):
    store.add(run_row("a"), {}, {})
    store.claim("a", "one")
    store.put([("a", 1, row("x", 0, v=1)), ("a", 1, row("y", 1))])
    store.add(run_row("b"), {}, {})
    with store.begin() as connection:
        store.copy_rows_in(connection, "a", "b", ["x"])
    assert [(kept.path, kept.outcome.outputs) for kept in store.kept("b")] == [("x", {"v": 1})]


def test_what_is_not_there_is_a_key_error(store):
    for look in (store.given, store.result, store.trace):
        with pytest.raises(KeyError):
            look("nobody")


def test_nothing_that_a_run_was_given_or_made_is_readable_in_the_file(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/s.db", {})
    store.add(run_row(), {"inputs": {"p": CANARY}}, {"f.json": CANARY.encode()})
    store.claim("r", "one")
    store.put([("r", 1, row("a", x=CANARY))])
    store.finish(End("r", 1, "succeeded", {"x": CANARY}, CANARY.encode()))
    store.close()
    assert not [
        path for path in tmp_path.iterdir() if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


# --- keys


def test_a_key_is_made_beside_a_file_and_only_its_owner_reads_it(tmp_path):
    Store(f"sqlite:///{tmp_path}/s.db", {}).close()
    key = tmp_path / "s.db.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_text()
    Store(f"sqlite:///{tmp_path}/s.db", {}).close()
    assert key.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir() if "key" in path.name) == ["s.db.key"]


def test_keys_are_rotated_by_listing_several(tmp_path):
    url, old, new = f"sqlite:///{tmp_path}/s.db", new_key(), new_key()
    first = Store(url, {KEY_VARIABLE: old})
    first.add(run_row("a"), {"n": 1}, {})
    both = Store(url, {KEY_VARIABLE: f"{new}, {old}"})
    both.add(run_row("b"), {"n": 2}, {})
    assert (both.given("a"), both.given("b")) == ({"n": 1}, {"n": 2})
    with pytest.raises(SurroundingsError, match=key_id(new)):
        first.given("b")


def test_another_key_is_refused_by_a_database_that_is_empty_yet(state):
    url, environ = state
    first = Store(url, environ)
    first.close()
    with pytest.raises(SurroundingsError, match=f"encrypted with key {first.vault.current}, which is not"):
        Store(url, {KEY_VARIABLE: new_key()})
    Store(url, environ).close()


def test_a_key_is_dropped_after_a_newer_one_was_listed_before_it(state):
    url, _ = state
    old, new = new_key(), new_key()
    for listed in (old, f"{old},{new}", f"{new},{old}", new):
        Store(url, {KEY_VARIABLE: listed}).close()
    with pytest.raises(SurroundingsError, match=f"encrypted with key {key_id(new)}"):
        Store(url, {KEY_VARIABLE: old})


def test_what_is_kept_since_before_there_was_a_canary_tells_its_key_by_the_newest_run(state):
    url, environ = state
    store = Store(url, environ)
    store.add(run_row(), {}, {})
    with store.begin() as connection:
        store.tables.keys.drop(connection)
    other = {KEY_VARIABLE: new_key()}
    for _ in range(2):  # whoever is refused leaves nothing there that would let him in
        with pytest.raises(SurroundingsError, match=store.vault.current):
            Store(url, other)
    Store(url, environ).close()
    store.close()


def test_a_lost_key_and_damage_are_told(tmp_path):
    sealed = Vault([new_key()]).seal(b"x")
    key = new_key()
    with pytest.raises(SurroundingsError, match=f"there is {key_id(key)}"):
        Vault([key]).open(sealed)
    vault = Vault([key])
    with pytest.raises(SurroundingsError, match="damaged"):
        vault.open(vault.seal(b"x")[:-4] + b"AAAA")


def test_a_text_that_is_no_key_is_refused():
    with pytest.raises(SurroundingsError, match="is no Fernet key"):
        Vault(["password"])


def test_a_shared_database_needs_a_key_that_somebody_keeps():
    with pytest.raises(SurroundingsError, match=f"set {KEY_VARIABLE}"):
        Store("postgresql://nobody@127.0.0.1:1/nothing", {})


# --- what the database cannot do


def test_a_database_that_is_not_there_is_told_in_one_line():
    with pytest.raises(SurroundingsError, match=r"^the state database: .*refused") as caught:
        Store("postgresql://nobody:pass-word-1@127.0.0.1:1/nothing", {KEY_VARIABLE: new_key()})
    assert "\n" not in str(caught.value)
    assert "pass-word-1" not in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense", "oracle://x/y", "sqlite", "foo://"])
def test_a_url_that_names_no_database_is_told(url):
    with pytest.raises(SurroundingsError, match="--state takes sqlite:///FILE or postgresql://"):
        Store(url, {})


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError, match="the state database"):
        Store(f"sqlite:///{tmp_path}/file/s.db", {})


def test_the_folder_of_a_new_file_is_made(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/a/b/s.db", {})
    assert Path(tmp_path, "a", "b", "s.db").exists()
    assert store.shown_url.endswith("a/b/s.db")


def test_turns_of_a_host_follow_each_other(store, state):
    other = Store(state[0], state[1])
    second = 1_000_000_000
    assert store.reserve("a.example", 3, 10 * second) == 0
    assert 29 * second < other.reserve("a.example", 1, 10 * second) <= 30 * second
    assert store.reserve("b.example", 1, 10 * second) == 0
    assert 39 * second < store.reserve("a.example", 1, 10 * second) <= 40 * second
    other.close()


def test_hosts_are_not_to_be_read_in_the_database(store, tmp_path):
    store.reserve(f"{CANARY}.example", 1, 1)
    with store.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM flowspan_turns").all()
    assert len(kept) == 1
    assert CANARY not in str(kept)
