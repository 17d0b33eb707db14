import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import FlowError, StepError, SurroundingsError
from runner.runtime.files import FileReader, open_stream, read_document, write_atomically

pytestmark = pytest.mark.anyio


@pytest.fixture
def flow(tmp_path):
    """A flow's folder, with a file inside and a secret outside."""
    (tmp_path / "secret.txt").write_bytes(b"secret")
    folder = tmp_path / "flow"
    (folder / "sub").mkdir(parents=True)
    (folder / "body.json").write_bytes(b"{}")
    (folder / "sub" / "deep.bin").write_bytes(b"\x00\x01")
    return folder


async def refused(reader, path, max_bytes=100):
    with pytest.raises(StepError) as caught:
        await reader.read(path, max_bytes)
    return caught.value.code


async def test_a_file_below_the_flow_is_read(flow):
    reader = FileReader(flow)
    assert await reader.read("body.json", 2) == b"{}"
    assert await reader.read("sub/deep.bin", 100) == b"\x00\x01"
    assert await reader.read("./sub/../body.json", 100) == b"{}"


async def test_a_file_is_read_in_the_callers_thread_too(flow):
    assert FileReader(flow).read_now("body.json", 2) == b"{}"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "sub/../../secret.txt", "/etc/passwd", "../none.txt", ".."]
)
async def test_nothing_outside_the_flow_is_read(flow, path):
    assert await refused(FileReader(flow), path) == "file.outside"


async def test_a_link_counts_as_what_it_leads_to(flow):
    (flow / "out").symlink_to(flow.parent / "secret.txt")
    (flow / "folder").symlink_to(flow.parent)
    (flow / "in").symlink_to(flow / "body.json")
    reader = FileReader(flow)
    assert await refused(reader, "out") == "file.outside"
    assert await refused(reader, "folder/secret.txt") == "file.outside"
    assert await reader.read("in", 100) == b"{}"


async def test_a_flow_that_is_reached_through_a_link_reads_its_files(flow):
    link = flow.parent / "link"
    link.symlink_to(flow)
    assert await FileReader(link).read("body.json", 100) == b"{}"


async def test_another_folder_can_be_allowed(flow):
    shared = flow.parent / "shared"
    shared.mkdir()
    (shared / "x").write_bytes(b"x")
    reader = FileReader(flow, [shared])
    assert await reader.read(str(shared / "x"), 100) == b"x"
    assert await reader.read("../shared/x", 100) == b"x"
    assert await refused(reader, "../secret.txt") == "file.outside"


async def test_a_folder_whose_name_only_begins_alike_is_not_allowed(flow):
    other = flow.parent / "flow-other"
    other.mkdir()
    (other / "x").write_bytes(b"x")
    assert await refused(FileReader(flow), "../flow-other/x") == "file.outside"


@pytest.mark.parametrize("path", ["none.json", "body.json/x", "sub/none"])
async def test_a_missing_file_is_missing(flow, path):
    assert await refused(FileReader(flow), path) == "file.missing"


async def test_a_file_of_the_size_of_the_limit_is_read_and_one_byte_more_is_not(flow):
    (flow / "four").write_bytes(b"1234")
    assert await FileReader(flow).read("four", 4) == b"1234"
    assert await refused(FileReader(flow), "four", 3) == "file.too_large"


async def test_a_large_file_is_refused_without_being_read(flow):
    with (flow / "sparse").open("wb") as file:
        file.truncate(2**40)
    assert await refused(FileReader(flow), "sparse", 2**20) == "file.too_large"


async def test_what_is_no_regular_file_is_never_opened(flow):
    os.mkfifo(flow / "pipe")
    assert await refused(FileReader(flow), "pipe") == "file.unreadable"
    assert await refused(FileReader(flow), "sub") == "file.unreadable"
    assert await refused(FileReader(flow, [Path("/dev")]), "/dev/zero") == "file.unreadable"


async def test_a_path_that_no_system_accepts_is_unreadable(flow):
    (flow / "loop").symlink_to(flow / "loop")
    assert await refused(FileReader(flow), "a\0b") == "file.unreadable"
    assert await refused(FileReader(flow), "a" * 5000) == "file.unreadable"
    assert await refused(FileReader(flow), "loop") in {"file.unreadable", "file.missing"}


@given(st.lists(st.sampled_from(["..", ".", "sub", "flow", "secret.txt", "", "link", "/"]), max_size=8))
def test_no_way_through_the_folders_leads_out(tmp_path_factory, parts):
    base = tmp_path_factory.getbasetemp() / "ways"
    root = base / "flow"
    (root / "sub").mkdir(parents=True, exist_ok=True)
    (base / "secret.txt").write_bytes(b"secret")
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(base)
    with pytest.raises(StepError):
        FileReader(root).read_now("/".join(parts), 100)


def document_code(path, max_bytes=10, stdin=None):
    with pytest.raises(FlowError) as caught:
        read_document(str(path), max_bytes, stdin)
    return caught.value.problems[0].code


def test_a_document_comes_from_a_file_or_from_standard_input(tmp_path):
    (tmp_path / "flow.json").write_bytes(b"[]")
    assert read_document(str(tmp_path / "flow.json"), 2) == b"[]"
    assert read_document("-", 2, io.BytesIO(b"{}")) == b"{}"


def test_a_document_over_the_limit_is_refused(tmp_path):
    (tmp_path / "flow.json").write_bytes(b"[  ]")
    assert document_code(tmp_path / "flow.json", 3) == "file.too_large"
    assert document_code("-", 3, io.BytesIO(b"[  ]")) == "file.too_large"


def test_standard_input_without_end_is_given_up_at_the_limit():
    with Path("/dev/zero").open("rb") as endless:
        assert document_code("-", 3 * 2**20, endless) == "file.too_large"


def test_a_document_that_is_not_there_is_told(tmp_path):
    assert document_code(tmp_path / "none.json") == "file.missing"
    assert document_code(tmp_path) == "file.unreadable"
    assert document_code("a\0b") == "file.unreadable"


def test_a_document_comes_from_a_pipe_too():
    code = "import sys; from runner.runtime.files import read_document; print(read_document(sys.argv[1], 10))"
    reading, writing = os.pipe()
    os.write(writing, b"piped")
    os.close(writing)
    done = subprocess.run(
        [sys.executable, "-c", code, f"/dev/fd/{reading}"],
        pass_fds=[reading],
        capture_output=True,
        check=True,
    )
    os.close(reading)
    assert done.stdout == b"b'piped'\n"


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def put(content):
    return lambda file: file.write(content)


def test_a_file_is_written_whole(tmp_path):
    write_atomically(tmp_path / "out.json", put(b"new"))
    assert (tmp_path / "out.json").read_bytes() == b"new"
    assert names_in(tmp_path) == ["out.json"]


def test_a_new_file_gets_the_usual_mode_and_an_old_one_keeps_its_own(tmp_path):
    new, old, plain = tmp_path / "new", tmp_path / "old", tmp_path / "plain"
    plain.write_bytes(b"")
    old.write_bytes(b"old")
    old.chmod(0o640)
    write_atomically(new, put(b"x"))
    write_atomically(old, put(b"x"))
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    seen = []

    def write(file):
        file.write(b"new")
        file.flush()
        seen.append(path.read_bytes())

    write_atomically(path, write)
    assert (seen, path.read_bytes()) == ([b"old"], b"new")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", put(b"new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises((SurroundingsError, KeyboardInterrupt)):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["out"]


def test_a_full_disk_is_told_in_words(tmp_path):
    def write(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SurroundingsError, match=r"cannot write '.*out': no space left on device"):
        write_atomically(tmp_path / "out", write)


def test_a_missing_folder_is_told_in_words(tmp_path):
    with pytest.raises(SurroundingsError, match=r"cannot write '.*': there is no folder '.*none'"):
        write_atomically(tmp_path / "none" / "out", put(b""))


def test_a_folder_in_the_way_is_told_in_words(tmp_path):
    with pytest.raises(SurroundingsError, match="is a directory"):
        write_atomically(tmp_path, put(b""))


def test_a_pipe_is_written_straight(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, put(b"out"))
    assert os.read(reading, 10) == b"out"
    os.close(reading)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_an_open_stream_that_leads_to_a_file_is_written_where_it_stands(tmp_path):
    """As `runner … --junit /dev/stdout >> log`: the log keeps its lines, and gets those that follow."""
    with (tmp_path / "log").open("ab", buffering=0) as log:
        log.write(b"before\n")
        write_atomically(Path(f"/dev/fd/{log.fileno()}"), put(b"out\n"))
        log.write(b"after\n")
    assert (tmp_path / "log").read_bytes() == b"before\nout\nafter\n"
    assert names_in(tmp_path) == ["log"]


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/dev/stdout", 1),
        ("/dev/stderr", 2),
        ("/dev/./fd/17", 17),
        ("/dev/fd/0", 0),
        ("/dev/stdin", None),
        ("/dev/null", None),
        ("dev/stdout", None),
        ("/dev/fd/x", None),
    ],
)
def test_the_names_of_open_streams_are_known(path, number):
    assert open_stream(Path(path)) == number


def test_a_stream_that_is_not_open_is_told_in_words():
    with pytest.raises(SurroundingsError, match="cannot write '/dev/fd/9999999': bad file descriptor"):
        write_atomically(Path("/dev/fd/9999999"), put(b""))


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 120, "𝄞" * 63])
def test_the_longest_name_can_be_written(tmp_path, name):
    write_atomically(tmp_path / name, put(b"x"))
    assert names_in(tmp_path) == [name]
