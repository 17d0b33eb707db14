import base64
import json
import random
import re
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.redact import MASK, Masker, mask_fields, mask_url, secret_header, secret_name
from tests.spellings import spellings

SECRETS = [
    "s3cr3t-T0ken",
    'p@ss w/o"rd\\n&<x>+=é😀',
    'a\\"b\\"c\'d',
    "пароль",
    "~~~~",
    "100% sure?",
    "tab\there",
    "ends in two\\\\",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_masked_in_every_text_spelling(secret):
    masker = Masker([secret])
    for spelled in spellings(secret):
        assert masker.mask(f"Bearer {spelled}, and so on") == f"Bearer {MASK}, and so on", spelled


@pytest.mark.parametrize("length", [4, 20, 57, 79, 300])
@pytest.mark.parametrize("before", range(40, 60))
@pytest.mark.parametrize("escape", [str, json.dumps, lambda text: json.dumps(json.dumps(text))])
def test_a_secret_is_masked_in_base64_that_is_cut_into_lines(length, before, escape):
    secret = "".join(random.Random(length).choices(string.ascii_letters + string.digits, k=length))
    data = b"u" * before + secret.encode() + b"x" * 80
    telling = base64.b64encode(data).decode()[-(-before * 8 // 6) : (before + length) * 8 // 6]
    wrapped = base64.encodebytes(data).decode()
    for text in (wrapped, wrapped.replace("\n", "\r\n")):
        assert Masker([secret]).suspects(escape(text))
        shown = Masker([secret]).mask(escape(text))
        assert MASK in shown
        assert telling not in re.sub(r"\\+r|\\+n|[\r\n]", "", shown)


def test_lines_that_are_no_cut_base64_stay_lines():
    text = "a" * 70 + "\nhunter22\n" + "b" * 20
    assert Masker(["hunter22"]).mask(text) == "a" * 70 + f"\n{MASK}\n" + "b" * 20
    assert Masker(["other-secret"]).mask(text) == text


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "u", "u:", "us:", "user:"])
@pytest.mark.parametrize("after", ["", "1", "12", "123"])
@pytest.mark.parametrize("secret", [*SECRETS, "????>>>>~~~~"])
def test_a_secret_is_masked_in_base64_wherever_it_lies_on_the_grid(secret, encode, before, after):
    text = encode(f"{before}{secret}{after}".encode()).decode()
    masker = Masker([secret])
    for spelled in (text, text.rstrip("="), quote(text, safe=""), text.replace("/", "\\/")):
        shown = masker.mask(f"Basic {spelled} end")
        assert MASK in shown
        left = shown.replace(MASK, "").removeprefix("Basic ").removesuffix(" end")
        # what stays are the neighbours' own characters, four for every three bytes, and padding
        assert len(re.sub("=|%3D", "", left)) <= (len(before) + len(after)) * 4 / 3 + 1


def test_a_latin_1_password_is_masked_in_basic_authentication():
    text = base64.b64encode("u:façade".encode("latin-1")).decode()
    assert Masker(["façade"]).mask(f"Basic {text}") == f"Basic dT{MASK}"


@pytest.mark.parametrize("secret", ["ĀéĀĀ", "\ud800\ud800\ud800é", "пароль"])
def test_a_value_that_latin_1_cannot_hold_does_not_mask_what_is_left_of_it(secret):
    assert Masker([secret]).mask("AAAA 6Q== ") == "AAAA 6Q== "


def test_a_short_secret_is_masked_only_where_it_is_the_whole_text():
    masker = Masker(["abc", "1"])
    assert masker.mask("abc") == MASK
    assert masker.mask("abcd") == "abcd"
    assert masker.mask_json({"pin": "1", "text": "1 of 2"}) == {"pin": MASK, "text": "1 of 2"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"pin":"a&b","x":"a&bc"}', '{"pin":"[masked]","x":"a&bc"}'),
        (json.dumps({"body": '{"pin":"a&b"}'}), json.dumps({"body": '{"pin":"[masked]"}'})),
        ("x=1&pin=a%26b&y=a%26bc", "x=1&pin=[masked]&y=a%26bc"),
        ("sid=a&b; Path=/", "sid=[masked]; Path=/"),
    ],
)
def test_a_short_secret_is_masked_where_it_is_the_whole_of_a_value_in_a_text(text, shown):
    assert Masker(["a&b"]).mask(text) == shown


def test_keys_numbers_and_booleans_stay_as_they_are():
    masker = Masker(["token", "12345", "true"])
    value = {"token": [12345, True, None, 1.5, ("token", {"x": "12345"})]}
    assert masker.mask_json(value) == {"token": [12345, True, None, 1.5, [MASK, {"x": MASK}]]}


def test_texts_and_numbers_inside_a_secret_value_are_secrets():
    masker = Masker([{"user": ["first-one", 987654], "on": True, "none": None}])
    assert masker.mask("first-one 987654 True None user") == f"{MASK} {MASK} True None user"


def test_a_secret_of_several_lines_is_masked_line_by_line():
    masker = Masker(["-----BEGIN KEY-----\nMIIEvQIBADAN\n  BgkqhkiG9w0B\n}\n"])
    assert masker.mask("got BgkqhkiG9w0B and MIIEvQIBADAN }") == f"got {MASK} and {MASK} }}"
    assert masker.mask('"-----BEGIN KEY-----\\nMIIEvQIBADAN\\n  BgkqhkiG9w0B\\n}\\n"') == f'"{MASK}"'


def test_the_newline_at_the_end_of_a_secret_file_makes_no_difference():
    assert Masker(["hunter22\n"]).mask("pw=hunter22;") == f"pw={MASK};"


@pytest.mark.parametrize("blank", ["", "     ", "\n\n\n\n\n"])
def test_a_blank_value_is_no_secret(blank):
    masker = Masker([blank])
    assert not masker
    assert masker.mask(f"a{blank}b") == f"a{blank}b"


def test_a_masker_is_true_once_it_knows_a_secret():
    masker = Masker()
    assert not masker
    masker.add("x")
    assert masker


def test_overlapping_secrets_leave_nothing_of_either():
    assert Masker(["abcdef", "cdefghij"]).mask("xabcdefghijx") == f"x{MASK}x"
    assert Masker(["abcd", "abcdefgh"]).mask("xabcdefghx") == f"x{MASK}x"
    assert Masker(["abab"]).mask("xabababx") == f"x{MASK}x"


def test_two_secrets_side_by_side_are_masked_one_by_one():
    assert Masker(["first1", "second"]).mask("first1second") == MASK + MASK


@pytest.mark.parametrize("secret", ["masked", "[mas", "mask"])
def test_masking_twice_changes_nothing_even_if_the_secret_is_the_word_itself(secret):
    masker = Masker([secret])
    once = masker.mask(f"a {secret} b")
    assert secret not in once.replace(MASK, "")
    assert masker.mask(once) == once


def test_a_very_long_secret_is_masked_as_it_stands():
    secret = "-".join(f"{number:05d}x" for number in range(4000))
    masker = Masker([secret])
    assert masker.mask(f"a{secret}b") == f"a{MASK}b"
    assert masker.suspects(json.dumps(secret))
    assert masker.mask("nothing here") == "nothing here"


@given(st.text(min_size=4, max_size=40).filter(str.strip), st.text(max_size=20), st.text(max_size=20))
def test_no_text_shows_a_secret(secret, before, after):
    shown = Masker([secret]).mask(before + secret + after)
    assert secret not in shown.replace(MASK, "\0\0\0\0")


@given(st.text(max_size=12).filter(str.strip), st.text(max_size=20), st.text(max_size=20))
def test_what_would_be_masked_is_always_suspected_in_the_json_around_it(secret, before, after):
    masker = Masker([secret])
    for text in (
        secret,
        before + secret + after,
        base64.b64encode((before + secret).encode("utf-8", "replace")).decode(),
    ):
        if masker.mask(text) != text:
            assert masker.suspects(json.dumps({"key": text}, ensure_ascii=False))
            nested = json.dumps([text], ensure_ascii=False)
            assert masker.suspects(json.dumps({"key": nested}, ensure_ascii=False))


@pytest.mark.parametrize("count", [1, 400])
def test_many_secrets_are_found_as_surely_as_one_and_not_much_more_slowly(count):
    masker = Masker(
        [f"session-{number:05d}-cookie" for number in range(count)] + ["abc", "a-b-c-d-e", "12345"]
    )
    text = "x" * 50_000 + " session-00000-cookie a-b-c-d-e " + "y" * 50_000
    started = time.process_time()
    shown = masker.mask(text)
    assert time.process_time() - started < 1
    assert shown.replace("x", "").replace("y", "") == f" {MASK} {MASK} "
    assert masker.suspects(json.dumps("c2Vzc2lvbi0wMDAwMC1jb29raWU="))
    assert masker.suspects('{"a":"abc"}')
    assert not masker.suspects('{"x":"yz","w":"NOTHING"}')


def test_nothing_is_suspected_without_secrets_or_without_their_traces():
    assert not Masker().suspects('{"a":"b"}')
    assert not Masker(["hunter22"]).suspects('{"a":"b"}')


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ('\\"\\"\\"\\"a', "\\" * 100_000 + "a"),
        ('"' * 30 + "aaaa", '\\"' * 50_000 + "aaaa"),
        ("%25%25%25%25", "%25" * 30_000 + "aaaa"),
        ("&amp;&amp;!", "&amp;" * 30_000 + "aaaa"),
    ],
)
def test_no_text_makes_masking_slow(secret, text):
    masker = Masker([secret])
    started = time.process_time()
    masker.mask(text)
    assert time.process_time() - started < 5  # the square of its length would take minutes


@pytest.mark.parametrize(
    "name",
    [
        *(
            "API_TOKEN",
            "api-key",
            "dbPassword",
            "APIKey",
            "TOKEN2",
            "GOOGLE_CREDENTIALS",
            "session",
            "X_AUTH",
        ),
        *("MY.SECRET", "openai_apikey", "PASSWD", "PASS", "Cookie", "KEYS"),
    ],
)
def test_a_name_with_a_secret_word_is_secret(name):
    assert secret_name(name)


@pytest.mark.parametrize(
    "name", ["MONKEY", "AUTHOR", "baseUrl", "PASSAGE", "tokenizer", "", "KEYNOTE", "COMPASS"]
)
def test_a_name_that_only_contains_the_letters_is_not(name):
    assert not secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "PROXY-AUTHORIZATION", "Cookie", "Set-Cookie", "X-Api-Key", "nected-api-key"),
        *(
            "X-CSRF-Token",
            "X-Auth-Token",
            "X-Amz-Security-Token",
            "ApiKey",
            "X-Session-Id",
            "X-Client-Secret",
        ),
    ],
)
def test_a_header_that_carries_credentials_is_secret(name):
    assert secret_header(name)


@pytest.mark.parametrize(
    "name",
    ["Content-Type", "Accept", "Idempotency-Key", "X-Cache-Key", "Surrogate-Key", "X-Request-Id", "Author"],
)
def test_a_header_that_opens_nothing_is_not(name):
    assert not secret_header(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"password": "a", "user": "b"}', '{"password": "[masked]", "user": "b"}'),
        ('{"access_token":"a\\"b","n":{"apiKey" : ""}}', '{"access_token":"[masked]","n":{"apiKey" : ""}}'),
        ('{"tokens": 5, "pass": null, "key": ["a"]}', '{"tokens": 5, "pass": null, "key": ["a"]}'),
        ('["token", "x"]', '["token", "x"]'),
        ('{"token": "cut off', '{"token": "cut off'),
    ],
)
def test_the_texts_of_a_json_body_are_masked_where_their_name_looks_secret(text, shown):
    assert mask_fields(text, form=False) == shown


def test_the_fields_of_a_form_are_masked_where_their_name_looks_secret():
    text = "user=b&password=a%20b&client_secret=&x&token=t"
    assert mask_fields(text, form=True) == "user=b&password=[masked]&client_secret=&x&token=[masked]"


@pytest.mark.parametrize(
    "text", ['"' * 100_000, '"a":' * 30_000, '"\\' * 50_000, "a=" * 50_000, "&" * 100_000]
)
def test_no_body_makes_masking_of_fields_slow(text):
    started = time.process_time()
    mask_fields(text, form=False)
    mask_fields(text, form=True)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pa@ss@h/p@q?x=1", "https://REDACTED:REDACTED@h/p@q?x=1"),
        ("//user@h", "//REDACTED:REDACTED@h"),
        ("https://h/a@b", "https://h/a@b"),
        ("https://h/?sig=1&Sig=2", "https://h/?sig=REDACTED&Sig=2"),
        ("https://h/?X-Amz-Signature=ab&x=%20+%2f", "https://h/?X-Amz-Signature=REDACTED&x=%20+%2f"),
        ("https://h/?API-Key=1&access_token=a%26b", "https://h/?API-Key=REDACTED&access_token=REDACTED"),
        ("https://h/?access%5Ftoken=a", "https://h/?access%5Ftoken=REDACTED"),
        ("https://h/?token=&token", "https://h/?token=&token"),
        ("https://h/?token=a?b/c#top", "https://h/?token=REDACTED#top"),
        ("https://h/#access_token=a&state=b", "https://h/#access_token=REDACTED&state=b"),
        ("https://h/#/page?token=a", "https://h/#/page?token=REDACTED"),
        ("https://h/?next=https://i/?token=a", "https://h/?next=https://i/?token=REDACTED"),
        ("https://h/path=1", "https://h/path=1"),
    ],
)
def test_a_url_is_shown_without_credentials_and_otherwise_untouched(url, shown):
    assert mask_url(url) == shown
