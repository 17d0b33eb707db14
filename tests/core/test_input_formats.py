import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import input_formats
from runner.core.input_formats import (
    date_flaw,
    fits_size,
    has_extension,
    is_date,
    is_email,
    is_iso_date,
    is_url,
    matches,
    pattern_flaw,
    size_flaw,
)

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.mark.parametrize(
    ("pattern", "value", "found"),
    [
        ("^https?://.+", "https://x", True),
        ("b", "abc", True),
        ("^b", "abc", False),
        ("/^[a-z]+$/", "abc", True),
        ("/^[a-z]+$/", "ABC", False),
        ("/^[a-z]+$/i", "ABC", True),
        (r"/^\/api\//", "/api/x", True),
        ("#^a/b$#", "a/b", True),
        ("~^a$~m", "b\na", True),
        ("/a.b/s", "a\nb", True),
        ("/a b # spaced/x", "ab", True),
        (r"^\w+$", "é", False),
        (r"/^\w+$/u", "é", True),
        ("(abc)", "xabcx", True),
        ("/path", "/path/x", True),
        ("(?<year>[0-9]{4})-[0-9]{2}", "2025-12", True),
        (UUID, "12345678-1234-1234-1234-123456789abc", True),
        ("a{3", "a{3", True),
    ],
)
def test_a_pattern_is_searched_as_pcre_does_it_with_or_without_delimiters(pattern, value, found):
    assert pattern_flaw(pattern) == ""
    assert matches(value, pattern) is found


@pytest.mark.parametrize(
    ("pattern", "flaw"),
    [
        (5, "must be a text"),
        (None, "must be a text"),
        ("(abc", "does not compile: missing )"),
        ("[", "does not compile"),
        ("*a", "does not compile: nothing to repeat"),
        ("(" * 500 + ")" * 500, "does not compile: nested too deep or too large"),
        ("/a/e", "has the flag 'e', which is not supported"),
        ("a" * 10_001, "is too large"),
        ("a{1000000}", "is too large"),
        ("((a{1000}){1000}){1000}", "is too large"),
        ("(a{500}){500}", "is too large"),
        ("(a{500,}){500,}", "is too large"),
        ("(?:a?){5000}" * 5, "is too large"),
        ("(a{1000}) {1000}(?x)", "is too large"),
        ("(?x-i) (a{1000}) {1000}", "is too large"),
        ("/(a{1000}) {1000}/x", "is too large"),
        ("(a{1000})(?#c){1000}", "is too large"),
        ("a)b{30000}", "is too large"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_told_without_harm(pattern, flaw):
    assert pattern_flaw(pattern).startswith(flaw)


@pytest.mark.parametrize(
    "pattern", [UUID + " " + UUID, r"[\]{9999}]{4}\d{4}\{9999}" * 3, "x" * 9000 + "+", "(a|b?){200}" * 10]
)
def test_an_ordinary_long_pattern_is_not_refused(pattern):
    assert pattern_flaw(pattern) == ""


def test_a_pattern_that_would_hang_is_stopped():
    assert input_formats.PATTERN_SECONDS == 0.1
    with pytest.raises(TimeoutError):
        matches("a" * 80 + "b", "(a|aa)+$")


@given(st.text(st.sampled_from("ab(){}[]*+?,09\\|^$.-:#/ "), max_size=30))
def test_any_pattern_compiles_or_has_a_flaw(pattern):
    if pattern_flaw(pattern) == "":
        assert matches("", pattern) in (True, False)


@pytest.mark.parametrize(
    "value", ["a@b.co", "first.last+tag@sub.example.com", "x@exämple.de", "o'neil@a-b.io", "ü@x.org", "a@1.2"]
)
def test_a_mail_address_is_recognised(value):
    assert is_email(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a",
        "@b.co",
        "a@",
        "a@b",
        "a@b..co",
        ".a@b.co",
        "a.@b.co",
        "a..b@c.de",
        "a b@c.de",
        "a@-b.co",
        "a@b-.co",
        "a@b_c.de",
        "a@b.co\n",
        "x" * 65 + "@b.co",
        "a@" + "b." * 130 + "co",
    ],
)
def test_what_is_no_mail_address_is_told(value):
    assert not is_email(value)


@pytest.mark.parametrize(
    "value", ["https://a.b/c?d=e#f", "http://localhost:8080", "HTTP://[::1]:1/x", "https://u:p@h/"]
)
def test_a_url_is_recognised(value):
    assert is_url(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "/path",
        "//host",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://h:x",
        "http://[::1",
        "http://a b",
        "http://h/\n",
        "javascript:x",
    ],
)
def test_what_is_no_url_is_told(value):
    assert not is_url(value)


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("2025-12-31", True),
        ("2024-02-29", True),
        ("2025-12-31T10:00:00Z", True),
        ("2025-12-31 10:00:00.5+07:00", True),
        ("2025-02-29", False),
        ("2025-13-01", False),
        ("2025-12-31T25:00", False),
        ("20251231", False),
        ("٢٠٢٥-12-31", False),
        ("31.12.2025", False),
    ],
)
def test_a_date_is_iso_and_exists(value, is_one):
    assert is_iso_date(value) is is_one


@pytest.mark.parametrize(
    ("limit", "value", "is_one"),
    [
        ("Y-m-d", "2025-12-31", True),
        ("Y-m-d", "2025-1-31", False),
        ("Y-m-d", "2025-02-29", False),
        ("Y-m-d", "0000-01-01", False),
        ("Y-m-d H:i:s", "2025-12-31 23:59:59", True),
        ("Y-m-d H:i:s", "2025-12-31 24:00:00", False),
        ("j/n/y", "1/12/25", True),
        ("j/n/y", "01/12/25", False),
        ("d.m.", "29.02.", True),
        ("d.m.", "30.02.", False),
        ("j-n-y", "29-2-23", False),
        ("g:i a", "9:05 pm", True),
        (r"Y-m-d\TH:i:sP", "2025-12-31T10:00:00+07:00", True),
        (r"\Y Y", "Y 2025", True),
        ("Y", "2025\n", False),
    ],
)
def test_a_date_follows_its_format_of_php_letters(limit, value, is_one):
    assert date_flaw(limit) == ""
    assert is_date(value, limit) is is_one


@pytest.mark.parametrize(
    ("limit", "flaw"),
    [
        (5, "must be a text such as Y-m-d"),
        ("", "must be a text such as Y-m-d"),
        ("YYYY-mm-dd", "has a letter twice"),
        ("YYYY-MM-DD", "has the unknown letter 'M'"),
        ("date", "has the unknown letter 't'"),
    ],
)
def test_a_date_format_that_cannot_be_used_is_told(limit, flaw):
    assert date_flaw(limit).startswith(flaw)


@pytest.mark.parametrize(
    ("limit", "size", "fits"),
    [
        (3, 3, True),
        (3, 4, False),
        ("3", 4, False),
        ("3B", 3, True),
        ("1KB", 1024, True),
        ("1 kib", 1025, False),
        ("0.5k", 512, True),
        ("1M", 1024 * 1024, True),
        ("1GB", 1024 * 1024, True),
    ],
)
def test_the_size_of_a_file_is_bounded(limit, size, fits):
    assert size_flaw(limit) == ""
    assert fits_size(b"x" * size, limit) is fits
    assert fits_size("x" * size, limit) is fits


def test_a_text_counts_with_its_bytes():
    assert not fits_size("é", 1)


@pytest.mark.parametrize("limit", [None, [], "big", "5 XB", -1, "1e3", "", {}])
def test_a_size_that_cannot_be_used_is_told(limit):
    assert size_flaw(limit) == "must be a number of bytes or a text such as 5MB"


def test_the_extension_of_a_file_is_compared_without_case_and_dot():
    assert has_extension("Report.PDF", ["png", "pdf"])
    assert has_extension("report.pdf", [".pdf"])
    assert not has_extension("report.pdf.exe", ["pdf"])
    assert not has_extension("pdf", ["pdf"])
