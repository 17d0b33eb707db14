"""What all platforms have in common, without a server."""

from dataclasses import replace

import pytest

from runner.core.commands import (
    GetToken,
    NoResponse,
    Refused,
    Request,
    Response,
    SendRequest,
    Token,
    TokenSpec,
    Wait,
    Waited,
)
from runner.platforms.client import (
    Api,
    Refusal,
    Tell,
    counted,
    excerpt,
    json_of,
    size_text,
)
from tests.play import answer, play


def api(url="https://p.example/api", **more):
    return Api(
        url,
        (("Authorization", "Bearer t"),),
        lambda found: Refusal(f"no: {found.status}", found.status),
        **more,
    )


def sent(method="GET", path="/x", resend=0):
    def is_it(command):
        assert isinstance(command, SendRequest)
        assert (command.request.method, command.request.url) == (method, f"https://p.example/api{path}")
        assert command.resend == resend
        return True

    return is_it


def told(text):
    return lambda command: isinstance(command, Tell) and text in command.text


def waited(most):
    return lambda command: isinstance(command, Wait) and 0 <= command.seconds <= most


def lost(code, phase, message="gone"):
    return NoResponse(phase, code, code, message)


def test_a_request_has_the_credentials_and_says_that_its_body_is_json():
    assert api().request("PUT", "/x", b"{}") == Request(
        "PUT",
        "https://p.example/api/x",
        (("Authorization", "Bearer t"), ("Accept", "application/json"), ("Content-Type", "application/json")),
        b"{}",
    )
    assert api("https://p.example/api/").request("GET", "/x").url == "https://p.example/api/x"
    assert [name for name, _ in api().request("GET", "/x").headers] == ["Authorization", "Accept"]


def test_an_answer_that_is_accepted_is_returned():
    assert play(api().call("GET", "/x"), (sent(), answer("1"))) == answer("1")
    assert play(api().call("GET", "/x", accepted=(404,)), (sent(), answer(status=404))).status == 404


def test_another_answer_is_read_as_an_error():
    assert play(api().call("GET", "/x"), (sent(), answer(status=404))) == Refusal("no: 404", 404)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again_and_told(status):
    done = play(
        api().call("PUT", "/x", b"{}"),
        (sent("PUT"), answer(status=status)),
        (told(f"it answered {status}; trying again in 0."), Waited()),
        (waited(0.2), Waited()),
        (sent("PUT", resend=1), answer()),
    )
    assert done == answer()


def test_the_server_says_how_long_to_wait():
    done = play(
        api().call("PUT", "/x"),
        (sent("PUT"), answer(status=503, Retry_After="7")),
        (Tell("it answered 503; trying again in 7.0 s"), Waited()),
        (Wait(7.0), Waited()),
        (sent("PUT", resend=1), answer()),
    )
    assert done.status == 200


def test_a_wait_that_is_too_long_is_told():
    done = play(api().call("PUT", "/x"), (sent("PUT"), answer(status=503, Retry_After="3600")))
    assert done == Refusal("no: 503; it asks to wait 3600 s", 503)


def test_it_gives_up_after_four_attempts():
    script = []
    for attempt in range(4):
        script += [
            (sent("PUT", resend=attempt), lost("http.connect", "unsent", "nobody listens")),
            (told("nobody listens; trying again"), Waited()),
            (waited(0.2 * 2**attempt), Waited()),
        ]
    done = play(api().call("PUT", "/x"), *script[:-2])
    assert done == Refusal("PUT https://p.example/api/x: nobody listens (after 4 attempts)")


@pytest.mark.parametrize(
    "reply", [lost("http.timeout", "sent"), lost("http.reset", "partial"), lost("http.tls", "unsent")]
)
def test_what_was_sent_or_cannot_pass_is_not_tried_again(reply):
    assert play(api().call("PUT", "/x"), (sent("PUT"), reply)).message.endswith("/x: gone")


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced_once():
    closed = NoResponse("sent", "http.reset", "x", "gone", reused=True)
    assert play(api().call("PUT", "/x"), (sent("PUT"), closed), (sent("PUT", resend=1), answer())) == answer()
    done = play(api().call("PUT", "/x"), (sent("PUT"), closed), (sent("PUT", resend=1), closed))
    assert done.message == "PUT https://p.example/api/x: gone"
    assert play(api().call("POST", "/x"), (sent("POST"), closed)).message.endswith("gone")


def test_a_post_that_may_have_acted_is_not_sent_again():
    assert play(api().call("POST", "/x"), (sent("POST"), answer(status=500))) == Refusal("no: 500", 500)


def test_a_url_is_shown_without_its_password():
    done = play(
        api("https://me:pass@p.example").call("GET", "/x?token=abc"),
        (lambda _: True, lost("http.timeout", "sent")),
    )
    assert done.message == "GET https://REDACTED:REDACTED@p.example/x?token=REDACTED: gone"


def test_a_redirect_is_not_followed_but_told():
    done = play(
        api().call("GET", "/x"), (sent(), answer(status=302, Location="https://login.example/?token=abc"))
    )
    assert done.message == "the platform answered 302 and points to https://login.example/?token=REDACTED"
    assert done.remedy == "give the url of the API itself"
    assert "nowhere" in play(api().call("GET", "/x"), (sent(), answer(status=304))).message


def test_a_reply_of_another_kind_is_a_bug():
    with pytest.raises(TypeError):
        play(api().call("GET", "/x"), (sent(), Waited()))
    with pytest.raises(TypeError):
        play(api(token=SPEC).call("GET", "/x"), (GetToken(SPEC), Waited()))


def test_a_body_may_have_a_media_type_of_its_own():
    body = api().request("POST", "/x", b"{}", kind="application/vnd.p.x+json")
    assert body.headers[-1] == ("Content-Type", "application/vnd.p.x+json")


# --- a token that is asked for

SPEC = TokenSpec("https://auth.example/token", "id", "secret")


def with_token(value):
    return lambda command: ("Authorization", f"Bearer {value}") in command.request.headers


def of_a_token(**more):
    return Api(
        "https://p.example/api",
        (),
        lambda found: Refusal(f"no: {found.status}", found.status),
        token=SPEC,
        **more,
    )


def test_a_token_is_asked_for_before_a_call():
    done = play(
        of_a_token().call("GET", "/x"), (GetToken(SPEC), Token("t1")), (with_token("t1"), answer("1"))
    )
    assert done == answer("1")
    assert ("Authorization", "Bearer [token]") in of_a_token().request("GET", "/x").headers


def test_a_token_that_is_rejected_is_replaced_once():
    again = (
        (GetToken(SPEC), Token("t1")),
        (with_token("t1"), answer(status=401)),
        (GetToken(SPEC, "t1"), Token("t2")),
    )
    assert play(of_a_token().call("GET", "/x"), *again, (with_token("t2"), answer("1"))) == answer("1")
    done = play(of_a_token().call("GET", "/x"), *again, (with_token("t2"), answer(status=401)))
    assert done == Refusal("no: 401", 401)


def test_another_refusal_asks_for_no_new_token():
    done = play(
        of_a_token().call("GET", "/x"), (GetToken(SPEC), Token("t1")), (with_token("t1"), answer(status=403))
    )
    assert done == Refusal("no: 403", 403)


def test_where_there_is_no_token_nothing_is_sent():
    done = play(of_a_token().call("GET", "/x"), (GetToken(SPEC), Refused("auth.token", "no token: gone")))
    assert done == Refusal("no token: gone", remedy="asked for at https://auth.example/token")


def test_a_platform_may_say_in_its_own_way_how_long_to_wait():
    def adapted(found):
        return replace(found, headers=(("Retry-After", found.body.decode()),))

    done = play(
        api(adapted=adapted).call("PUT", "/x"),
        (sent("PUT"), answer("7", status=429)),
        (Tell("it answered 429; trying again in 7.0 s"), Waited()),
        (Wait(7.0), Waited()),
        (sent("PUT", resend=1), answer("0")),
    )
    assert done.status == 200


def test_a_refusal_is_told_with_its_fields_its_details_and_what_to_do():
    refusal = Refusal("no", 400, "c", (("a.b", "is odd"), ("", "alone")), "one\ntwo", "try x")
    assert [*refusal.lines()] == ["no", "  a.b: is odd", "  alone", "  one", "  two", "  try x"]
    assert [*Refusal("no").lines()] == ["no"]


@pytest.mark.parametrize(
    ("body", "value"),
    [(b'{"a": 1}', {"a": 1}), (b"<html>", None), (b"", None), (b"\xff", None), (b"[" * 100_000, None)],
)
def test_an_answer_is_read_as_json_if_it_is_any(body, value):
    assert json_of(Response(200, (), body)) == value


def test_an_answer_that_nobody_can_read_is_shown_in_part():
    page = Response(502, (), b"<html>\n<h1>Bad gateway</h1>\xff</html>")
    assert excerpt(page) == "Bad gateway \ufffd"
    assert excerpt(Response(502, (), b"x" * 20_001)) == "x" * 20_000 + "…"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (605_123, "605 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (20_971_520, "21 MB"),
    ],
)
def test_sizes_are_told_for_people(count, text):
    assert size_text(count) == text


def test_things_are_counted():
    assert [counted(number, "span") for number in (0, 1, 2)] == ["0 spans", "1 span", "2 spans"]
