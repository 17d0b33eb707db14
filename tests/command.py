"""The command line for tests: in this process, in one of its own, on a terminal, or interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from runner.cli.app import run_command

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "runner")
PATIENCE = 60
needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
_OF_A_TERMINAL = {"COLUMNS", "LINES", "NO_COLOR", "TERM"}
_PIECES = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


def environment(**more: str) -> dict[str, str]:
    """Return the environment of the tests, with the package to be found from any folder."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_A_TERMINAL}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "TERM": "xterm", **more}


def command(
    *words: object, cwd: Path, stdin: str | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `runner WORDS` in a folder to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env=environment(**env),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def here(*words: object, cwd: Path, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Do as `command` does without a process of its own, which takes a tenth of the time."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    before, streams = dict(os.environ), (sys.stdin, sys.stdout, sys.stderr)
    os.environ.clear()
    os.environ.update(environment(**env))
    sys.stdin = io.TextIOWrapper(io.BytesIO((stdin or "").encode()), encoding="utf-8")
    sys.stdout, sys.stderr = out, err
    try:
        with contextlib.chdir(cwd):
            code = run_command([*map(str, words)])
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        os.environ.clear()
        os.environ.update(before)
    texts = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))
    return subprocess.CompletedProcess(["runner", *words], code, *texts)


def start(*words: object, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """Start `runner WORDS` and return it while it runs."""
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


class Terminal:
    """`runner WORDS` on a terminal of its own; `stdout` and `stderr` may lead to files instead."""

    def __init__(
        self,
        *words: object,
        cwd: Path,
        columns: int = 80,
        lines: int = 24,
        stdout: Path | None = None,
        stderr: Path | None = None,
        **env: str,
    ) -> None:
        self._lines = lines
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        files = [None if path is None else path.open("wb") for path in (stdout, stderr)]
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words)],
            cwd=cwd,
            env=environment(**env),
            stdin=slave,
            stdout=files[0] or slave,
            stderr=files[1] or slave,
            start_new_session=True,
        )
        os.close(slave)
        for file in files:
            if file is not None:
                file.close()
        self.data = b""

    def read_until(self, text: str) -> None:
        """Read what is written until this text comes."""
        while text.encode() not in self.data:
            piece = self._read()
            assert piece, f"{text!r} did not come: {self.data!r}"

    def _read(self) -> bytes:
        try:
            piece = os.read(self._master, 65_536)
        except OSError:  # Linux says EIO when the last one who writes has gone
            piece = b""
        self.data += piece
        return piece

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(PATIENCE)

    @property
    def text(self) -> str:
        """Everything that was written, control sequences too."""
        return self.data.decode("utf-8")

    @property
    def screen(self) -> list[str]:
        """The lines that a person sees in the end, those that have scrolled away included."""
        return shown(self.text, self._lines)


def shown(text: str, height: int = 1000) -> list[str]:
    """Return what a terminal of so many lines shows, and has shown before it scrolled away.

    Moves up, erased lines and carriage returns are obeyed; nothing moves up into what has scrolled away.
    """
    lines, row, column = [""], 0, 0
    for argument, final, back, down, plain in _PIECES.findall(text):
        if final == "A":
            row = max(0, len(lines) - height, row - int(argument or 1))
        elif final == "K":
            lines[row] = ""
        elif back:
            column = 0
        elif down:
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif plain:
            kept = lines[row].ljust(column)
            lines[row] = kept[:column] + plain + kept[column + len(plain) :]
            column += len(plain)
    lines = [line.rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def flow_file(folder: Path, *steps: dict, name: str = "flow.json", **record: object) -> Path:
    """Write a flow of these steps and return its path; `config` and `edges` go where they belong."""
    data = {"version": "1.0", "steps": list(steps), "config": record.pop("config", {})}
    path = folder / name
    path.write_text(json.dumps({"name": path.stem, "flow_inputs": [], "flow_data": data, **record}, indent=1))
    return path


def get(step_id: str, **keys: object) -> dict:
    """Return a step that asks for /<step_id>."""
    return {"id": step_id, "method": "GET", "url": f"{{{{env.API}}}}/{step_id}", **keys}
