import pytest

from runner.errors import SurroundingsError
from runner.runtime.otlp_settings import target_of, wanted
from runner.runtime.tracing import Recorder


def settings(endpoint=None, **env):
    return target_of(
        {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in env.items()}, endpoint, timeout=3
    )


@pytest.mark.parametrize(
    ("endpoint", "env", "url"),
    [
        (None, {}, "http://localhost:4318/v1/traces"),
        (None, {"PROTOCOL": "grpc"}, "http://localhost:4317"),
        (None, {"ENDPOINT": "http://h:4318/"}, "http://h:4318/v1/traces"),
        (None, {"ENDPOINT": "http://h/otlp"}, "http://h/otlp/v1/traces"),
        (None, {"ENDPOINT": "http://h", "TRACES_ENDPOINT": "http://own/x"}, "http://own/x"),
        (None, {"ENDPOINT": "h:4317", "PROTOCOL": "grpc"}, "h:4317"),
        ("http://flag", {"ENDPOINT": "http://h", "TRACES_ENDPOINT": "http://own/x"}, "http://flag/v1/traces"),
        ("http://flag/v1/traces", {}, "http://flag/v1/traces"),
        ("http://flag", {"PROTOCOL": "grpc"}, "http://flag"),
    ],
)
def test_a_base_url_gets_the_path_for_traces(endpoint, env, url):
    assert settings(endpoint, **env).url == url


def test_a_variable_for_traces_wins_and_an_empty_one_is_none():
    assert settings(PROTOCOL="grpc", TRACES_PROTOCOL="http/json").protocol == "http/json"
    assert settings(PROTOCOL="grpc", TRACES_PROTOCOL=" ").protocol == "grpc"
    assert settings(PROTOCOL="").protocol == "http/protobuf"
    assert (settings(TIMEOUT="7").timeout, settings().timeout) == (7.0, 3)


def test_everything_that_makes_no_sense_is_told_at_once(tmp_path):
    with pytest.raises(SurroundingsError) as caught:
        settings(PROTOCOL="smoke", TIMEOUT="soon", ENDPOINT="nonsense", CERTIFICATE=str(tmp_path / "no.pem"))
    for word in ("'smoke'", "'soon'", "'nonsense/v1/traces'", "no.pem"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"COMPRESSION": "brotli"}, "no OTLP compression 'brotli'; use one of none, gzip, deflate"),
        ({"COMPRESSION": "deflate", "PROTOCOL": "grpc"}, "use one of none, gzip"),
        ({"TIMEOUT": "-1"}, "'-1' is no number of seconds above 0"),
        ({"TIMEOUT": "nan"}, "'nan' is no number"),
        ({"ENDPOINT": "ftp://h", "PROTOCOL": "grpc"}, "'ftp://h' is no http or https url"),
        ({"ENDPOINT": "http://"}, "is no http or https url"),
    ],
)
def test_a_setting_that_makes_no_sense_is_told(env, says):
    with pytest.raises(SurroundingsError, match=says):
        settings(**env)


# --- switches


@pytest.mark.parametrize(
    ("environ", "parent_sampled", "expected"),
    [
        ({}, None, True),
        ({}, False, True),
        ({"OTEL_SDK_DISABLED": "True"}, None, False),
        ({"OTEL_SDK_DISABLED": "no"}, None, True),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, True, False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, False, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, False, False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, None, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, True, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, None, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, None, True),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, None, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"}, None, True),
        ({"OTEL_TRACES_SAMPLER": "unheard_of"}, None, True),
    ],
)
def test_the_standard_switches_decide_about_delivery_only(environ, parent_sampled, expected):
    assert wanted(environ, (9 << 64) + 2**63 - 1, parent_sampled=parent_sampled) is expected


def test_no_switch_touches_the_record(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    made = Recorder("r")
    made.end(made.open("x"))
    assert len(list(made.spans())) == 1
