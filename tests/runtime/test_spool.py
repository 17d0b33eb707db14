import json
import resource
import stat
from pathlib import Path

import pytest

from runner.core.otlp_json import RESOURCE
from runner.core.trace_document import read_traces
from runner.errors import SurroundingsError
from runner.runtime.spool import append, is_spool, spool_path
from tests.core.test_otlp_json import record


def ids(path):
    return [span.span_id for trace in read_traces(path.read_bytes(), path.name) for span in trace.records]


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".runner/spool/run.jsonl"


@pytest.fixture
def small_files():
    """Let no file grow beyond 3 kB, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_each_batch_is_a_line_of_otlp_that_only_its_owner_can_read(path):
    append(path, [record(1), record(2)], RESOURCE)
    append(path, [record(3)], RESOURCE)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [line[-1:] for line in lines] == [b"\n", b"\n"]
    assert [len(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]) for line in lines] == [2, 1]
    assert ids(path) == [1, 2, 3]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 100])
def test_a_line_that_a_kill_has_cut_off_gives_way_to_the_next_one(path, cut):
    append(path, [record(1)], RESOURCE)
    append(path, [record(2)], RESOURCE)
    path.write_bytes(path.read_bytes()[:-cut])
    append(path, [record(3)], RESOURCE)
    assert ids(path) == [1, 3]


def test_a_full_disk_leaves_the_lines_before_and_nothing_of_the_new_one(path, small_files):
    append(path, [record(1)], RESOURCE)
    before = path.read_bytes()
    with pytest.raises(SurroundingsError, match=r"cannot write '.*run\.jsonl': file too large"):
        append(path, [record(number) for number in range(2, 100)], RESOURCE)
    assert path.read_bytes() == before
    append(path, [record(2)], RESOURCE)
    assert ids(path) == [1, 2]


def test_a_link_is_not_followed(path, tmp_path):
    (tmp_path / "other").write_text("kept")
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "other")
    with pytest.raises(SurroundingsError, match="too many levels of symbolic links"):
        append(path, [record(1)], RESOURCE)
    assert (tmp_path / "other").read_text() == "kept"


def test_a_spool_file_is_known_by_where_it_is(path, monkeypatch, tmp_path):
    assert spool_path("run-7") == Path(".runner/spool/run-7.jsonl")
    assert is_spool(path)
    assert is_spool(spool_path("run-7"))
    path.parent.mkdir(parents=True)
    monkeypatch.chdir(path.parent)
    assert is_spool(Path("run.jsonl"))
    assert not is_spool(tmp_path / "traces.jsonl")
    assert not is_spool(tmp_path / ".runner/spool/notes.txt")
