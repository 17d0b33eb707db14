"""Playing a flow or a step without a server: a script of command and reply, or a world that answers.

`play` drives one generator through a script. `Stage` drives a whole `Progress` in memory: it starts
what may start, answers requests from a table, and keeps what happened in the order it happened.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from runner.core.actions import Close, Finish, Open, Start
from runner.core.answers import Answers
from runner.core.commands import (
    Emit,
    FileContent,
    GetToken,
    ReadFile,
    Response,
    RunScript,
    SendRequest,
    Token,
    Wait,
    Waited,
)
from runner.core.document import Document
from runner.core.model import stream
from runner.core.plan import build_plan
from runner.core.progress import Progress
from runner.core.redact import Masker
from runner.core.request import RunTerms
from runner.core.scope import RunValues, Scope, SecretNames
from runner.platforms import read
from runner.runtime.script import run_now


def play(program, *script):
    """Drive a program through (expected command, reply) pairs; returns what it returns.

    The expected command may be a predicate instead of a value.
    """
    try:
        command = next(program)
        for expected, reply in script:
            if callable(expected):
                assert expected(command), f"unexpected {command!r}"
            else:
                assert command == expected
            command = program.send(reply)
    except StopIteration as stop:
        return stop.value
    raise AssertionError(f"the script ended before the program, which asks for {command!r}")


def answer(body: bytes | str = b"{}", status: int = 200, **headers: str) -> Response:
    """Return a response as a server would have sent it."""
    data = body.encode() if isinstance(body, str) else body
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status, pairs, data)


def flow_of(*steps, edges=(), **config):
    """Return a flow of these steps, inputs open."""
    data = {"version": "1.0", "steps": list(steps), "config": config}
    if edges:
        data["edges"] = list(edges)
    return read(Document.of(data))


def problems_of(flow):
    """Return everything that is found while a flow and its steps are read."""
    found = list(flow.problems)
    for _ in stream(flow.steps, found):
        pass
    return found


def http(step_id, **keys):
    """Return an HTTP step as a document has it."""
    return {"id": step_id, "method": "GET", "url": f"http://h.example/{step_id}", **keys}


def edge(source, target, when="done", **keys):
    """Return an edge as a document has it."""
    return {"from": source, "to": target, "when": when, **keys}


@dataclass
class Stage:
    """Runs a flow in memory. `answers` maps a step's path, id or url path to a reply or to several."""

    flow: object
    answers: dict[str, object] = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)
    budget: int | None = None
    read: Callable | None = None
    hold: set[str] = field(default_factory=set)
    given: Answers = field(default_factory=Answers)

    def __post_init__(self):
        self.plan = build_plan(self.flow, self.read)
        assert not self.plan.errors, [str(problem) for problem in self.plan.errors]
        self.masker = Masker()
        scope = Scope(inputs=self.inputs, env=self.env, run=RunValues("run"), secret=SecretNames())
        terms = RunTerms("run", self.masker, answers=self.given)
        self.progress = Progress(self.plan, scope, terms, step_budget=self.budget)
        self.started: list[str] = []
        self.opened: list[str] = []
        self.closed: dict[str, object] = {}
        self.spots: dict[str, object] = {}
        self.requests: list = []
        self.waits: list[float] = []
        self.events: list[tuple[str, str]] = []
        self.running: dict[str, Start] = {}
        self.peak = 0
        self.outcome = None

    def run(self):
        """Start and go on until nothing is left but what is held."""
        self._follow(self.progress.start())
        self.go_on()
        return self

    def go_on(self):
        """Finish, first in first out, everything that runs and is not held."""
        while ready := [path for path in self.running if path not in self.hold]:
            self.finish(ready[0])
        return self

    def finish(self, path):
        """Run one started leaf to its end."""
        start = self.running.pop(path)
        self._follow(self.progress.done(path, self._drive(start)))
        return self

    def end(self, path, outcome):
        """End one started leaf with an outcome of the caller's."""
        self.running.pop(path).program.close()
        self._follow(self.progress.done(path, outcome))
        return self

    def interrupt(self, path, by):
        """Interrupt the flow at a path; returns the leaves that are to be ended."""
        leaves, actions = self.progress.interrupt(path, by)
        self._follow(actions)
        return leaves

    def status(self, path):
        """Return how a path ended, with the reason when it was skipped."""
        outcome = self.closed[path]
        return f"{outcome.status}:{outcome.reason}" if outcome.reason else outcome.status

    @property
    def statuses(self):
        """How every path ended, in the order of their ends."""
        return {path: self.status(path) for path in self.closed if path}

    def _follow(self, actions):
        for action in actions:
            match action:
                case Start(spot):
                    self.started.append(spot.path)
                    self.spots[spot.path] = spot
                    self.running[spot.path] = action
                    self.peak = max(self.peak, len(self.running))
                case Open(spot):
                    self.opened.append(spot.path)
                    self.spots[spot.path] = spot
                case Close(spot, outcome):
                    self.closed[spot.path] = outcome
                    self.spots[spot.path] = spot
                case Finish(outcome):
                    self.outcome = outcome

    def _drive(self, start):
        program = start.program
        try:
            command = next(program)
            while True:
                command = program.send(self._reply(command, start.spot))
        except StopIteration as stop:
            return stop.value

    def _reply(self, command, spot):
        match command:
            case SendRequest(request):
                self.requests.append(request)
                return self._answer(spot, request)
            case Wait(seconds):
                self.waits.append(seconds)
                return Waited()
            case Emit(name):
                self.events.append((spot.path, name))
                return Waited()
            case ReadFile(path):
                return FileContent(f"content of {path}".encode())
            case GetToken():
                return Token("token-1")
            case RunScript():
                return run_now(command)
        raise AssertionError(command)

    def _answer(self, spot, request):
        for key in (spot.path, spot.id, request.url):
            if key in self.answers:
                found = self.answers[key]
                if callable(found):
                    return found(request)
                return found.pop(0) if isinstance(found, list) else found
        return answer()
