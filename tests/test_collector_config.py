"""What can be known about otel-collector.yaml without a collector."""

import re
from pathlib import Path

import pytest
import yaml

from runner.core import names
from runner.core.redact import mask_url

PATH = Path(__file__).parents[1] / "otel-collector.yaml"
VARIABLE = re.compile(r"\$\{env:([A-Z_]+):-([^}]*)\}")

# Component types of the contrib distribution, under the names they have since v0.152.
KNOWN = {
    "extensions": {"health_check", "file_storage"},
    "receivers": {"otlp"},
    "processors": {"memory_limiter", "transform", "redaction", "tail_sampling"},
    "connectors": {"span_metrics", "forward"},
    "exporters": {"debug", "file", "prometheus", "otlp_http"},
}
SECTIONS = ("receivers", "processors", "exporters")


def load(**variables):
    text = VARIABLE.sub(lambda match: variables.get(match[1], match[2]), PATH.read_text(encoding="utf-8"))
    assert "${" not in text.replace("$${", "")
    return yaml.safe_load(text.replace("$$", "$"))


@pytest.fixture(scope="module")
def config():
    return load()


@pytest.fixture(scope="module")
def pipelines(config):
    return config["service"]["pipelines"]


def strings(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def statements(config):
    """Yield path, pattern and replacement of every replace_pattern, as OTTL unescapes them."""
    for statement in config["processors"]["transform/scrub"]["trace_statements"]:
        match = re.fullmatch(r'replace_pattern\((.+?), "(.*)", "(.*)"\)', statement)
        if match:
            path, pattern, replacement = match.groups()
            yield path, pattern.replace("\\\\", "\\"), replacement.replace("${1}", r"\1")


def scrub(config, path, text):
    for where, pattern, replacement in statements(config):
        if where == path:
            text = re.sub(pattern, replacement, text)
    return text


def test_every_component_is_of_a_known_type(config):
    assert set(config) == {*KNOWN, "service"}
    for section, types in KNOWN.items():
        assert {name.split("/")[0] for name in config[section]} == types


def test_pipelines_use_what_is_defined_and_nothing_is_left_over(config, pipelines):
    used = {section: set() for section in SECTIONS}
    for pipeline in pipelines.values():
        for section in SECTIONS:
            used[section] |= set(pipeline[section])
    connectors = set(config["connectors"])
    assert used["receivers"] - connectors == set(config["receivers"])
    assert used["processors"] == set(config["processors"])
    assert used["exporters"] - connectors == set(config["exporters"]) - {"otlp_http/backend"}
    assert set(config["service"]["extensions"]) == set(config["extensions"])
    assert config["exporters"]["otlp_http/backend"]["sending_queue"]["storage"] in config["extensions"]


def test_a_connector_is_both_an_exporter_and_a_receiver(config, pipelines):
    for name in config["connectors"]:
        assert [key for key, pipeline in pipelines.items() if name in pipeline["exporters"]]
        assert [key for key, pipeline in pipelines.items() if name in pipeline["receivers"]]


def test_the_memory_limiter_comes_first_wherever_something_arrives(pipelines):
    for pipeline in pipelines.values():
        if "otlp" in pipeline["receivers"]:
            assert pipeline["processors"][0] == "memory_limiter"


def test_spans_are_scrubbed_before_anything_leaves_and_counted_before_sampling(pipelines):
    first = pipelines["traces/in"]
    assert first["processors"][1:] == ["transform/scrub", "redaction/secrets"]
    assert "span_metrics" in first["exporters"]
    assert "tail_sampling" not in first["processors"]
    assert "otlp" not in pipelines["traces/out"]["receivers"]


def test_everything_listens_on_loopback_until_told_otherwise(config):
    hosts = [match[1] for text in strings(config) if (match := re.fullmatch(r"([\w.]+):(\d{4,5})", text))]
    assert len(hosts) == 4
    assert set(hosts) == {"127.0.0.1"}
    readers = config["service"]["telemetry"]["metrics"]["readers"]
    assert readers[0]["pull"]["exporter"]["prometheus"]["host"] == "127.0.0.1"


def test_traces_go_to_a_backend_when_two_variables_say_so():
    changed = load(COLLECTOR_BACKEND="http://tempo:4318", COLLECTOR_TRACES_TO="[otlp_http/backend, debug]")
    assert changed["service"]["pipelines"]["traces/out"]["exporters"] == ["otlp_http/backend", "debug"]
    assert changed["exporters"]["otlp_http/backend"]["endpoint"] == "http://tempo:4318"


def test_every_variable_is_explained_at_the_top():
    text = PATH.read_text(encoding="utf-8")
    head, body = text.split("extensions:", 1)
    used = {match[1] for match in VARIABLE.finditer(body)}
    assert used == set(re.findall(r"^#   (COLLECTOR_[A-Z_]+)", head, re.MULTILINE))


def test_a_dollar_sign_that_is_no_variable_is_doubled():
    text = PATH.read_text(encoding="utf-8")
    assert re.findall(r"(?<!\$)\$(?!\$|\{env:)", text) == []


def test_patterns_are_of_the_kind_that_go_can_compile(config):
    redaction = config["processors"]["redaction/secrets"]
    patterns = [pattern for _, pattern, _ in statements(config)]
    patterns += redaction["blocked_key_patterns"] + redaction["blocked_values"]
    assert len(patterns) == 15
    for pattern in patterns:
        re.compile(pattern)
        assert not re.search(r"\(\?[=!<P]|\\[1-9]|[*+?}]\+", pattern), f"RE2 has no {pattern}"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:pa@ss@h/p?x=1",
        "https://h/p?X-Amz-Signature=ab%20c&x=1#top",
        "https://h/p?Api-Key=ab&access_token=cd&sig=1&Sig=2",
        "https://h/p#id_token=ab",
        "https://h/p?token=&monkey=1&zip_code=1",
        "https://h/plain/path?q=a@b",
    ],
)
def test_a_url_is_scrubbed_as_the_runner_itself_would(config, url):
    assert scrub(config, 'span.attributes["url.full"]', url) == mask_url(url)


def test_the_query_alone_is_scrubbed_too(config):
    shown = scrub(config, 'span.attributes["url.query"]', "token=ab&x=1&client_secret=c")
    assert shown == "token=REDACTED&x=1&client_secret=REDACTED"


@pytest.mark.parametrize(
    "path",
    ["span.status.message", 'span.attributes["error.message"]', 'spanevent.attributes["exception.message"]'],
)
def test_a_quoted_authorization_header_is_scrubbed_from_messages(config, path):
    assert scrub(config, path, "refused Bearer ab.c-d_e=, sorry") == "refused Bearer REDACTED, sorry"


@pytest.mark.parametrize(
    ("key", "blocked"),
    [
        ("http.request.header.authorization", True),
        ("http.request.header.proxy-authorization", True),
        ("http.response.header.set-cookie", True),
        ("runner.output.apiKey", True),
        ("runner.output.access_token", True),
        ("db.password", True),
        ("http.request.header.nected-api-key", True),
        *((key.replace("<name>", "x"), False) for key in names.ATTRIBUTES),
    ],
)
def test_keys_of_secrets_are_masked_and_none_of_our_own(config, key, blocked):
    patterns = config["processors"]["redaction/secrets"]["blocked_key_patterns"]
    assert any(re.search(pattern, key) for pattern in patterns) is blocked


@pytest.mark.parametrize(
    ("value", "blocked"),
    [
        ("Basic dXNlcjpwYXNz", True),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln", True),
        ("AKIAIOSFODNN7EXAMPLE", True),
        ("-----BEGIN RSA PRIVATE KEY-----", True),
        ("a basic test", False),
        ("01JSPK1SB6S622T6E1P9BBJTWP", False),
        ("4111111111111111", False),
    ],
)
def test_values_that_look_like_credentials_are_masked(config, value, blocked):
    patterns = config["processors"]["redaction/secrets"]["blocked_values"]
    assert any(re.search(pattern, value) for pattern in patterns) is blocked


def test_metrics_are_counted_by_attributes_that_exist(config):
    dimensions = [entry["name"] for entry in config["connectors"]["span_metrics"]["dimensions"]]
    assert [name for name in dimensions if not names.known_attribute(name)] == []
    assert not {"url.full", "execution.id", "runner.run.id", "runner.index"} & set(dimensions)


def test_buckets_rise(config):
    buckets = config["connectors"]["span_metrics"]["histogram"]["explicit"]["buckets"]
    units = {"ms": 1, "s": 1000}
    sizes = [
        int(number) * units[unit]
        for number, unit in (re.fullmatch(r"(\d+)(m?s)", text).groups() for text in buckets)
    ]
    assert sizes == sorted(set(sizes))


def test_attributes_that_sampling_looks_at_exist(config):
    conditions = [text for text in strings(config["processors"]["tail_sampling"]) if "attributes[" in text]
    keys = [key for text in conditions for key in re.findall(r'attributes\["(.+?)"\]', text)]
    assert keys
    assert all(names.known_attribute(key) for key in keys)
