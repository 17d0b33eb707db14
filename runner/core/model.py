"""The flow document as typed values: what each key is called, what it may hold, what it does.

The wire names are those of the Steps format (seed 002) and our additions (DESIGN 3). The
descriptions here are the reference of the format: `examples/REFERENCE.md` and the JSON Schema are
generated from them. Dataclasses and not pydantic models, because most of a step's keys are not given
and a flow of 100 000 steps must fit beside its trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, overload

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from runner.core.commands import Json
from runner.core.document import Document
from runner.errors import Problem

CAMEL = ConfigDict(alias_generator=to_camel, extra="ignore", arbitrary_types_allowed=True)
SNAKE = ConfigDict(extra="ignore")

StepKind = Literal["http", "condition", "delay", "set", "flow", "script", "external"]
Join = Literal["all", "any", "each"]


class _Unset:
    """The one value that says that a key was not given, where null means something."""

    def __deepcopy__(self, memo: object) -> _Unset:
        return self

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Any = _Unset()

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    """Return the one empty object that stands for every object that was not given."""
    return _NOTHING


def key(description: str, **constraints: Any) -> Any:  # noqa: ANN401 - pydantic types Field as Any too
    """Describe a key of the document."""
    return Field(description=description, **constraints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when a failed attempt is repeated (SEMANTICS, Retry and idempotency)."""

    __pydantic_config__ = CAMEL

    max_attempts: Annotated[
        int | None, key("Attempts in all, the first one included. Wins over `retryCount`.", ge=1, le=1000)
    ] = None
    initial_interval: Annotated[
        int | None, key("Milliseconds before the first retry. Default 200.", ge=0, le=3_600_000)
    ] = None
    backoff_coefficient: Annotated[
        float | None, key("Factor from one interval to the next. Default 2.", ge=1, le=100)
    ] = None
    maximum_interval: Annotated[
        int | None, key("Longest interval in milliseconds. Default 10000.", ge=0, le=86_400_000)
    ] = None
    jitter: Annotated[
        Literal["full", "none"] | None,
        key("`full` draws each wait between 0 and the interval; `none` waits the interval. Default full."),
    ] = None
    statuses: Annotated[
        list[int] | None,
        key("Statuses that are retried. Default 408 425 429 500 502 503 504."),
    ] = None
    unsafe: Annotated[
        bool | None, key("Retry POST and PATCH even when the server may have acted. Default false.")
    ] = None
    max_retry_after: Annotated[
        int | None,
        key("Longest `Retry-After` that is waited for, in milliseconds. Default 60000.", ge=0, le=86_400_000),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """Poll: send again until the condition holds."""

    __pydantic_config__ = CAMEL

    condition: Annotated[str, key("Evaluated on each answer with an accepted status; true ends the polling.")]
    interval: Annotated[int, key("Milliseconds between two polls.", ge=0, le=86_400_000)] = 1000
    max_attempts: Annotated[int, key("Polls in all; then the step fails.", ge=1, le=100_000)] = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    """`Authorization: Basic`."""

    __pydantic_config__ = CAMEL

    type: Literal["basic"]
    username: Annotated[str, key("User name; a template.")]
    password: Annotated[str, key("Password; a template. Always masked.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerAuth:
    """`Authorization: Bearer`."""

    __pydantic_config__ = CAMEL

    type: Literal["bearer"]
    token: Annotated[str, key("The token; a template. Always masked.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Auth:
    """OAuth2 client credentials (RFC 6749 section 4.4); one token per run, refreshed once on a 401."""

    __pydantic_config__ = CAMEL

    type: Literal["oauth2"]
    token_url: Annotated[str, key("Where the token is asked for; a template.")]
    client_id: Annotated[str, key("Client id; a template.")]
    client_secret: Annotated[str, key("Client secret; a template. Always masked.")]
    scope: Annotated[str | None, key("Scopes, separated by blanks; a template.")] = None
    audience: Annotated[str | None, key("Audience, for servers that want one; a template.")] = None
    client_auth: Annotated[
        Literal["basic", "body"], key("Send the client's credentials as Basic header or in the body.")
    ] = "basic"


Auth: TypeAlias = Annotated[BasicAuth | BearerAuth | OAuth2Auth, Field(discriminator="type")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file in a multipart body."""

    __pydantic_config__ = CAMEL

    file: Annotated[str, key("Path below the flow's folder; a template.")]
    filename: Annotated[str | None, key("Name told to the server; the file's own by default.")] = None
    content_type: Annotated[str | None, key("Media type; guessed from the name by default.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A node that only its platform can run: its outcome comes from a file, or from a recording."""

    __pydantic_config__ = CAMEL

    platform: Annotated[str, key("The platform that the node comes from.")] = ""
    type: Annotated[str, key("What the node is there; outcomes may be given for all nodes of a type.")] = ""
    ask: Annotated[
        Literal["answers", "stubs"],
        key("Who decides: a person (`answers`) or a service (`stubs`). Default `stubs`."),
    ] = "stubs"
    fields: Annotated[tuple[str, ...], key("Names of the outputs that are asked for.")] = ()
    recorded: Annotated[
        Json, key("The outcome that is replayed with `--recorded`; an `output` or `error`.")
    ] = UNSET
    source: Annotated[Json, key("The node as it was.")] = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. Its kind follows from its keys: HTTP, condition, delay, set, flow or external.

    One that was read (`Step.of`) holds nothing but what was given: the class has the rest.
    """

    __pydantic_config__ = CAMEL

    id: Annotated[
        str, key("Name of the step in references and in the trace; unique. Letters, digits, `_` and `-`.")
    ] = ""
    name: Annotated[str, key("Name for people; the id by default.")] = ""
    description: Annotated[str, key("Free text.")] = ""
    method: Annotated[str | None, key("HTTP method, in any case.")] = None
    url: Annotated[
        str | None,
        key("Where to send; a template. Substituted parts are percent-encoded, a leading base URL is not."),
    ] = None
    headers: Annotated[Mapping[str, Json], key("Request headers; values are templates.")] = field(
        default_factory=_nothing
    )
    query: Annotated[
        dict[str, Json] | None,
        key("Query parameters added to the url; values are templates, a list repeats the parameter."),
    ] = None
    body: Annotated[
        Json,
        key(
            "Request body. An object or a list is sent as JSON (as a form when Content-Type says so), a text"
            " as it is (its values JSON-escaped under a JSON Content-Type). Templates inside keep their type."
        ),
    ] = None
    form: Annotated[
        dict[str, Json] | None, key("Body as `application/x-www-form-urlencoded`; values are templates.")
    ] = None
    multipart: Annotated[
        dict[str, str | FilePart] | None,
        key("Body as `multipart/form-data`: name to text (a template) or to a file."),
    ] = None
    body_file: Annotated[
        str | None, key("Path of a file below the flow's folder that is sent as the body; a template.")
    ] = None
    auth: Annotated[Auth | None, key("Credentials: `basic`, `bearer` or `oauth2`.")] = None
    timeout: Annotated[
        int | None, key("Milliseconds for one attempt in all. Default `config.timeout`.", ge=1, le=86_400_000)
    ] = None
    expected_status: Annotated[
        int | str | list[int | str] | None,
        key('Accepted statuses instead of 2xx: a number, "2xx", or a list of both.'),
    ] = None
    follow_redirects: Annotated[bool, key("Follow up to 10 redirects.")] = True
    outputs: Annotated[
        Mapping[str, str],
        key(
            "Output name to path: `response.body.a.b[0]`, `response.status`, `response.headers.x`,"
            " `response.cookies.x`, a JSONPath `$.…`, or the legacy forms `response.a` and `a.b`."
            " On a flow step: `stepId.output` of the flow that was run."
        ),
    ] = field(default_factory=_nothing)
    secret_outputs: Annotated[tuple[str, ...], key("Outputs whose values are masked everywhere.")] = ()
    assert_: Annotated[
        str | tuple[str, ...],
        key("Conditions over `response.*` that must hold on an accepted answer.", alias="assert"),
    ] = ()
    condition: Annotated[
        str | bool | None,
        key(
            "Condition such as `{{input.role}} === 'admin'`. False skips the step; a step with nothing else"
            " outputs `result` and `label` and branches along `edges`."
        ),
    ] = None
    true_label: Annotated[str | None, key("`label` of a condition step that is true.")] = None
    false_label: Annotated[str | None, key("`label` of a condition step that is false.")] = None
    delay: Annotated[
        int | None,
        key(
            "Milliseconds to wait; alone it makes a delay step, elsewhere it precedes the step.",
            ge=0,
            le=300_000,
        ),
    ] = None
    duration: Annotated[
        int | None, key("The same as `delay`, as the visual format spells it.", ge=0, le=300_000)
    ] = None
    set: Annotated[
        dict[str, Json] | None, key("Variables made from templates; they are the step's outputs.")
    ] = None
    flow: Annotated[str | None, key("Path of another flow file below this one's folder, run as a step.")] = (
        None
    )
    inputs: Annotated[dict[str, Json] | None, key("Inputs of the flow that is run; templates.")] = None
    external: Annotated[
        External | None,
        key("A node of another platform, kept as it was; `--answers` or `--stubs` say how it ends."),
    ] = None
    for_each: Annotated[
        str | list[Json] | None,
        key(
            "Run the step once per item of a list: a reference or a list. `{{item}}` and `{{index}}` stand"
            " for the item and its position; outputs become lists in order."
        ),
    ] = None
    max_concurrency: Annotated[int | None, key("Items of `forEach` at once. Default 1.", ge=1, le=1000)] = (
        None
    )
    until: Annotated[Until | None, key("Poll until a condition holds.")] = None
    depends_on: Annotated[
        str | tuple[str, ...],
        key("Steps that must have succeeded, or been skipped by their own condition, before."),
    ] = ()
    join: Annotated[
        Join | None,
        key(
            "When a step with listed edges starts: `all` edges taken, `any` (all decided, one taken), or"
            " `each` time one is taken."
        ),
    ] = None
    max_visits: Annotated[
        int | None, key("Times that a step with `join: each` may run. Default 1.", ge=1, le=100_000)
    ] = None
    retry_count: Annotated[
        int | None, key("Extra attempts after the first. Default `config.retryCount`.", ge=0, le=10)
    ] = None
    retry: Annotated[Retry | None, key("Retry settings; each wins over `retryCount` and `config`.")] = None
    idempotency_key: Annotated[
        bool,
        key(
            "Send an `Idempotency-Key` that stays the same over attempts and resumption; then POST and PATCH"
            " are retried like any other method."
        ),
    ] = False
    on_error: Annotated[
        Literal["stop", "continue"] | None,
        key("`continue` handles a failure of this step: the run goes on and may succeed."),
    ] = None
    endpoint_id: Annotated[
        Json, key("Id of a saved endpoint of the platform; refused where the step needs it to be sent.")
    ] = None
    endpoint: Annotated[Json, key("Older spelling of `endpointId`.")] = None
    tests: Annotated[Json, key("Test scripts of the platform; kept, not run: a warning says so.")] = None

    @classmethod
    def of(cls, given: dict[str, Any]) -> Step:
        """Return the step with these values, by the names of fields; it keeps the dictionary as its own."""
        step = object.__new__(cls)
        object.__setattr__(step, "__dict__", given)
        return step

    @property
    def kind(self) -> StepKind:
        """What the step does, by its shape."""
        if self.flow is not None:
            return "flow"
        if self.external is not None:
            return "external"
        if self.url is not None or self.method is not None or self._endpoint:
            return "http"
        if self.set is not None:
            return "set"
        if self.delay is not None or self.duration is not None:
            return "delay"
        return "condition" if self.condition is not None else "http"

    @property
    def label(self) -> str:
        """What people call the step."""
        return self.name or self.id

    @property
    def delay_ms(self) -> int:
        """Milliseconds to wait before the step does its work."""
        return self.delay or self.duration or 0

    @property
    def _endpoint(self) -> bool:
        return self.endpoint_id is not None or self.endpoint is not None

    @property
    def assertions(self) -> tuple[str, ...]:
        """The conditions of `assert`, always as several."""
        return (self.assert_,) if isinstance(self.assert_, str) else self.assert_

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps of `dependsOn`, always as several."""
        return (self.depends_on,) if isinstance(self.depends_on, str) else self.depends_on


for _name in ("headers", "outputs"):
    setattr(Step, _name, _NOTHING)  # dataclasses take no mapping as a default


class Steps(Sequence[Step]):
    """Steps that are read from their document when they are asked for.

    `stream` reads some at a time, and lets go of each part of the document as it is read if the
    document can be read `again`. Who indexes or iterates has all of them kept.
    """

    CHUNK = 500

    def __init__(self, raw: list[Json], read: Callable[[list[Json], int, list[Problem]], list[Step]]) -> None:
        self._raw: list[Json] | None = raw
        self._read = read
        self._size = len(raw)
        self._kept: tuple[Step, ...] | None = None
        self.again: Callable[[], Sequence[Step]] | None = None

    def stream(self, problems: list[Problem]) -> Iterator[Step]:
        """Yield each step, and add what is wrong with it to `problems`."""
        raw = self._raw
        if raw is None:
            assert self.again is not None
            yield from stream(self.again(), problems)
            return
        if self.again is not None:
            self._raw = None
        for start in range(0, self._size, self.CHUNK):
            part = raw[start : start + self.CHUNK]
            if self.again is not None:
                raw[start : start + self.CHUNK] = [None] * len(part)
            yield from self._read(part, start, problems)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Step: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Step]: ...

    def __getitem__(self, index: int | slice) -> Step | Sequence[Step]:
        if self._kept is None:
            self._kept = tuple(self.stream([]))
        return self._kept[index]


def stream(steps: Sequence[Step], problems: list[Problem]) -> Iterator[Step]:
    """Yield each step; those of a document add to `problems` what is wrong with them."""
    return steps.stream(problems) if isinstance(steps, Steps) else iter(steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A connection between two steps."""

    __pydantic_config__ = CAMEL

    source: Annotated[str, key("Id of the step that the edge leaves.", alias="from")]
    target: Annotated[str, key("Id of the step that the edge enters.", alias="to")]
    when: Annotated[
        str,
        key(
            "When the edge is taken: `done`, `success`, `failure`, `true`, `false`, `case:<id>`, or `next`:"
            " like `done`, but a failure is not handled by it, as between two steps of the list.",
            pattern=r"^(done|next|success|failure|true|false|case:.+)$",
        ),
    ] = "done"
    join: Annotated[Join | None, key("Join of the edge's group on its target; default `any`.")] = None
    gate: Annotated[
        str | None,
        key(
            "Into a step with `join: each`: edges of the same gate open it together, `all` or `any` of them"
            " by their own `join`, and again when their sources have run again."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of the whole flow."""

    __pydantic_config__ = CAMEL

    delay: Annotated[int, key("Milliseconds between the starts of two steps.", ge=0, le=300_000)] = 0
    retry_count: Annotated[int, key("Extra attempts of each step after the first.", ge=0, le=10)] = 0
    retry: Annotated[Retry | None, key("Retry settings of every step that does not say otherwise.")] = None
    parallel: Annotated[
        bool,
        key("Run the steps as a graph by their references and `dependsOn` instead of one after the other."),
    ] = False
    max_concurrency: Annotated[int, key("Steps at once when `parallel`.", ge=1, le=1000)] = 5
    timeout: Annotated[int, key("Milliseconds for one attempt in all.", ge=1, le=86_400_000)] = 30_000
    stop_on_error: Annotated[
        bool,
        key(
            "Start nothing new after a failure that nothing handles; steps that run finish, loops with all"
            " their items."
        ),
    ] = True
    flow_timeout: Annotated[
        int | None, key("Milliseconds for the whole run. Default none.", ge=1, le=2_592_000_000)
    ] = None
    base_url: Annotated[str | None, key("Put before urls that start with `/`; a template.")] = None
    concurrency_key: Annotated[
        str | None,
        key(
            "Template over `input`, `env` and `headers`: of the runs from a queue that have the same key, of"
            " whatever flow, only some are at work at once."
        ),
    ] = None
    max_concurrency_per_key: Annotated[
        int, key("Runs with the same `concurrencyKey` at work at once.", ge=1, le=100_000)
    ] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InputField:
    """A declared input."""

    __pydantic_config__ = SNAKE

    name: Annotated[str, key("Name in references: `{{input.name}}`.")] = ""
    type: Annotated[
        str,
        key(
            "`string number integer boolean email password url object array file date json`."
            " A password is masked everywhere."
        ),
    ] = "string"
    required: Annotated[bool, key("A run without a value is refused.")] = False
    default: Annotated[Json, key("Value when none is given.")] = UNSET
    validation: Annotated[Mapping[str, Json], key("Rules for the value.")] = field(default_factory=_nothing)
    description: Annotated[str, key("Free text.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Flow:
    """A flow, ready to be checked.

    `inputs` is None when the document does not declare any (inputs are then open); `has_steps` is
    false for a patch, which may be pushed and not run. `home` is the folder that the flow may read
    files from (empty: none), `source` the flow's file below it; `prefix` is the way to the flow's data
    inside the document, and `problems` what was found while reading it, but for its `steps`.
    A reader of another platform gives in `works` what its nodes do (`runner.core.compiled.ForeignWork` by
    step id), in `bundle` the flows that are run as steps and stand in the same document, and in `hints`
    what else than a scripted outcome can be given for a step.
    """

    name: str = ""
    description: str = ""
    inputs: tuple[InputField, ...] | None = None
    version: str = "1.0"
    steps: Sequence[Step] = ()
    edges: tuple[Edge, ...] = ()
    config: Config = field(default_factory=Config)
    is_active: bool = True
    has_steps: bool = True
    prefix: str = ""
    stem: str = ""
    home: str = ""
    source: str = ""
    document: Document | None = None
    problems: tuple[Problem, ...] = ()
    works: Mapping[str, Any] = field(default_factory=_nothing, repr=False, compare=False)
    bundle: Mapping[str, Flow] = field(default_factory=_nothing, repr=False, compare=False)
    hints: Mapping[str, str] = field(default_factory=_nothing)

    @property
    def label(self) -> str:
        """`task.id` of the root span: the flow's name, else its file's stem, else ``flow``."""
        return self.name or self.stem or "flow"

    @property
    def folder(self) -> str:
        """The folder below `home` that the flow's own paths are relative to."""
        return self.source.rpartition("/")[0]
