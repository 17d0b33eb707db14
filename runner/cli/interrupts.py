"""What SIGINT and SIGTERM do to a run on the command line."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, Self

import anyio

_TOGETHER: Final = 0.1  # seconds: a key that bounces, or a shell that passes on what the terminal sent too


class Interrupts:
    """The first signal asks the run to end; one that comes after it, and not with it, calls `leave`.

    The handlers are in place before the event loop and after it, so that there is no gap in which a
    signal would end the process without its trace. Signals that are ignored stay so.
    """

    def __init__(self, leave: Callable[[], NoReturn]) -> None:
        self._leave = leave
        self._before: dict[signal.Signals, Any] = {}
        self._asked_at: float | None = None

    def __enter__(self) -> Self:
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            # Written to by whichever thread the signal reaches; the main one may wait for events.
            self._waker_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._waker_before)
            self._restore(self._before)
        self._woken.close()
        self._waker.close()

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked_at is not None

    async def wait(self) -> None:
        """Return when a signal has come, before this call or after it."""
        while not self.asked:
            await anyio.wait_readable(self._woken)
            self._woken.recv(1)

    def stand_down(self) -> None:
        """Let a signal interrupt what comes after the run, which is over and written down."""
        self._restore(dict.fromkeys(self._before, signal.default_int_handler))

    def _restore(self, handlers: dict[signal.Signals, Any]) -> None:
        if not self.asked:  # else the next one is to leave at once
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _take(self, *_: object) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        elif time.monotonic() - self._asked_at > _TOGETHER:
            self._leave()


@contextmanager
def raised() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, unless they are ignored; only in the main thread."""
    here = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if here else ()
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
