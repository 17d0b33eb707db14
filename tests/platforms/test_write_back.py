"""A checksum is put into the text of a document, and nothing else in it changes."""

import pytest

from runner.core.document import parse
from runner.errors import FlowError
from runner.platforms.write_back import written_back

NEW = {"checksum": "n€w"}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a.json", '{\n  "name": "x",\n  "checksum": "old", "n": [1 ,2]}\n', '{\n  "name": "x",\n  "checksum": "n€w", "n": [1 ,2]}\n'),
        ("a.json", '{"name": "x"}', '{"checksum": "n€w", "name": "x"}'),
        ("a.json", '{\r\n\t"name": "x"\r\n}', '{\r\n\t"checksum": "n€w",\n\t"name": "x"\r\n}'),
        ("a.json", '{"checksum":null,"a":"\\u20ac"}', '{"checksum":"n€w","a":"\\u20ac"}'),
        ("a.yaml", "# c\nname: x # note\nchecksum: 'o''ld' # keep\n", '# c\nname: x # note\nchecksum: "n€w" # keep\n'),
        ("a.yaml", "name: x\nnodes:\n- a\n", 'checksum: "n€w"\nname: x\nnodes:\n- a\n'),
        ("a.yaml", "checksum: old\n", 'checksum: "n€w"\n'),
        ("a.yaml", "{name: x}", '{"checksum": "n€w", name: x}'),
    ],
)  # fmt: skip
def test_a_value_is_put_where_it_was_or_before_the_first_key(name, before, after):
    assert written_back(parse(before.encode(), name=name), NEW).decode() == after


def test_a_mark_of_the_encoding_stays():
    assert written_back(parse(b'\xef\xbb\xbf{"checksum": "a"}', name="a.json"), NEW)[:3] == b"\xef\xbb\xbf"


def test_the_object_may_be_inside_of_an_envelope():
    document = parse(b'{"code": "s", "data": {"name": "x", "checksum": "a"}}', name="a.json")
    made = written_back(document, {"checksum": "b", "id": "i"}, "data")
    assert made == b'{"code": "s", "data": {"id": "i", "name": "x", "checksum": "b"}}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "checksum: |\n  old\nb: 1\n"),
        ("a.yaml", "checksum: >-\n  old\n"),
        ("a.json", '{"checksum": {"a": 1}}'),
        ("a.json", '{"checksum": [1]}'),
        ("a.yaml", "a: &x 1\nchecksum: *x\nb: *x\n"),
    ],
)
def test_what_cannot_be_put_without_changing_more_is_refused(name, text):
    document = parse(text.encode(), name=name)
    try:
        made = written_back(document, NEW)
    except FlowError as error:
        [problem] = error.problems
        assert problem.code == "usage.write_back"
        assert problem.what.endswith("put it in by hand")
    else:
        assert parse(made, name=name).value == {**document.value, **NEW}
