import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.reference import Reference, spell
from runner.core.scope import RunValues, Scope, SecretNames
from runner.core.template import Template, TemplateError, compile_template, compile_tree, survey
from runner.errors import StepError


def scope(**changes):
    given = {
        "inputs": {
            "name": "ada",
            "n": 4,
            "yes": True,
            "nothing": None,
            "list": [1, "é"],
            "password": 'p"w/d',
            "env": "prod",
        },
        "env": {
            "API_URL": "https://api.example.com/v1",
            "BARE": "https://api.example.com",
            "SCHEME": "https",
            "PREFIX": "http://",
        },
        "outputs": {"register": {"userId": 42, "token": "a/b?c=d&e f"}},
        "run": RunValues("run", 0.0),
        "secret": SecretNames(inputs=frozenset({"password"})),
    } | changes
    return Scope(**given)


def rendered(value, where):
    """Render a value as the body of a step."""
    return compile_tree(value)[0].render(where, "body")


def refused(call, *values):
    with pytest.raises(StepError) as caught:
        call(*values)
    return caught.value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{register.userId}}", 42),
        ("{{ register.userId }}", 42),
        ("{{input.yes}}", True),
        ("{{input.nothing}}", None),
        ("{{input.list}}", [1, "é"]),
        ("{{ input.n + 1 }}", 5),
        ("id {{register.userId}}", "id 42"),
        ("{{input.name}}{{input.n}}", "ada4"),
        ("{{input.yes}} {{input.list}}", 'true [1,"é"]'),
        ("{{ '{{' }} {{ '{%' }}", "{{ {%"),
        ('{"a":{"b":{{input.n}}}}', '{"a":{"b":4}}'),
        ("a } } }} b {{input.n}}", "a } } }} b 4"),
        ("{ {{ {'a': {'b': 1}} }} }", '{ {"a":{"b":1}} }'),
        ("{{null}}", None),
    ],
)
def test_a_whole_value_keeps_its_type_and_anything_else_is_text(source, value):
    found = compile_template(source).render(scope())
    assert (found, type(found)) == (value, type(value))


def test_a_template_knows_what_it_is():
    constant, whole, mixed = map(compile_template, ("a", "{{a.b}}", "x {{a.b}} {{ c.d | default(1) }}"))
    assert [(one.constant, one.whole) for one in (constant, whole, mixed)] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert constant.references == ()
    assert whole.references == (Reference("a.b", "a", ("b",)),)
    assert mixed.references == (Reference("a.b", "a", ("b",)), Reference("c.d", "c", ("d",), soft=True))
    assert mixed.source == "x {{a.b}} {{ c.d | default(1) }}"


def test_the_text_of_a_whole_value_is_its_json():
    assert compile_template("{{input.list}}").text(scope()) == '[1,"é"]'
    assert compile_template("{{input.n}}").text(scope()) == "4"
    assert (
        compile_template("x").text(scope())
        == compile_template("x").url(scope())
        == compile_template("x").json_text(scope())
    )


@pytest.mark.parametrize(
    ("source", "code", "offset"),
    [
        ("a {{b", "template.unclosed", 2),
        ("{{}}", "template.empty", 0),
        ("ab {% if x %}", "template.tag", 3),
        ("{# x #}", "template.tag", 0),
        ("{{a}} {% x %}", "template.tag", 6),
        ("a {{ b | uper }}", "template.forbidden", 2),
        ("a {{ === }}", "template.syntax", 2),
        ("{{a}} {{$foo}}", "reference.unknown_value", 6),
        ("{{{a}}}", "template.syntax", 0),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_code_and_offset(source, code, offset):
    with pytest.raises(TemplateError) as caught:
        compile_template(source)
    assert (caught.value.code, caught.value.offset) == (code, offset)


def test_null_inside_text_is_an_error_that_names_the_reference():
    error = refused(compile_template("Hello {{input.nothing}}").text, scope())
    assert error.code == "template.null"
    assert error.message.startswith("{{input.nothing}} is null inside text")


def test_a_value_that_is_no_json_is_an_error_that_names_the_reference():
    error = refused(compile_template("x {{input.n}}").text, scope(inputs={"n": float("nan")}))
    assert error.code == "template.value"
    assert error.message.startswith("{{input.n}}: ")


@pytest.mark.parametrize("mode", ["text", "url", "json_text"])
@pytest.mark.parametrize(
    "source",
    [
        "{{input.s}}{{input.s}}",
        "x{{input.s}}{{input.s}}",
        "x{{input.l}}",
        "x{{input.k}} {{input.k}}",
        '"{{input.l}}"',
    ],
)
def test_a_text_above_the_limit_is_refused(mode, source):
    small = scope(inputs={"s": "a" * 60, "l": ["a" * 60] * 2, "k": ["a" * 50]}, run=RunValues(max_text=100))
    assert refused(getattr(compile_template(source), mode), small).code == "limit.text"


def test_half_a_character_is_refused_in_text():
    assert (
        refused(compile_template("a {{input.s}}").text, scope(inputs={"s": "\ud800"})).code
        == "template.encoding"
    )
    assert compile_template("a {{input.s}}").text(scope(inputs={"s": "\U0001f600"})) == "a \U0001f600"


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("{{env.API_URL}}/users/verify", "https://api.example.com/v1/users/verify"),
        ("{{env.API_URL}}/u/{{register.token}}", "https://api.example.com/v1/u/a%2Fb%3Fc%3Dd%26e%20f"),
        (
            "{{env.API_URL}}?t={{register.token}}&n={{input.n}}",
            "https://api.example.com/v1?t=a%2Fb%3Fc%3Dd%26e%20f&n=4",
        ),
        ("{{env.API_URL}}/{{ input.n }}/{{ input.n + 1 }}", "https://api.example.com/v1/4/5"),
        ("https://h/?t={{ register.token | urlencode }}", "https://h/?t=a%2Fb%3Fc%3Dd%26e%20f"),
        ("https://{{input.env}}.api.example.com/x", "https://prod.api.example.com/x"),
        ("https://{{input.name}}:{{input.password}}@h/", "https://ada:p%22w%2Fd@h/"),
        ("{{env.SCHEME}}://{{input.env}}/{{input.n}}", "https://prod/4"),
        ("{{env.PREFIX}}{{input.env}}/x", "http://prod/x"),
        ("{{env.API_URL}}{{input.name}}", "https://api.example.com/v1ada"),
        ("{{register.token}}", "a/b?c=d&e f"),
        ("/users/{{register.userId}}", "/users/42"),
        ("/x?filter={{input.list}}", "/x?filter=%5B1%2C%22%C3%A9%22%5D"),
        ("{{input.n}}", "4"),
    ],
)
def test_values_in_a_url_are_encoded_but_for_a_whole_or_leading_one(source, url):
    template = compile_template(source)
    assert template.url(scope()) == url
    assert template.url(scope()) == url  # from what was remembered


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("https://{{register.token}}.example.com/", "url.host"),
        ("{{env.SCHEME}}://{{register.token}}/", "url.host"),
        ("{{env.BARE}}{{input.name}}", "url.host"),
        ("{{env.BARE}}/{{ '..' }}/x", "url.path"),
        ("/x/{{input.nothing}}", "template.null"),
    ],
)
def test_a_value_that_would_change_the_shape_of_a_url_is_refused(source, code):
    assert refused(compile_template(source).url, scope()).code == code


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('{"a":"{{input.password}}"}', '{"a":"p\\"w/d"}'),
        ('{"a":{{input.password}}}', '{"a":"p\\"w/d"}'),
        ('{"a":{{input.list}},"b":{{input.nothing}},"c":{{input.yes}}}', '{"a":[1,"é"],"b":null,"c":true}'),
        ('{"a":"x \\" {{input.name}} {{input.list}}"}', '{"a":"x \\" ada [1,\\"é\\"]"}'),
        ('{"a":"\\\\","b":{{input.n}}}', '{"a":"\\\\","b":4}'),
        ("{{input.list}}", '[1,"é"]'),
    ],
)
def test_values_in_json_text_are_escaped_in_strings_and_json_elsewhere(source, text):
    assert compile_template(source).json_text(scope()) == text
    json.loads(text)


def test_null_inside_a_json_string_is_an_error():
    assert refused(compile_template('{"a":"{{input.nothing}}"}').json_text, scope()).code == "template.null"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_no_value_breaks_out_of_json_text(first, second):
    template = compile_template('{"a":"-{{input.a}}-","b":{{input.b}}}')
    rendered = template.json_text(scope(inputs={"a": first, "b": second}))
    assert json.loads(rendered) == {"a": f"-{first}-", "b": second}


@pytest.mark.parametrize(
    ("source", "mode", "shown"),
    [
        ("{{input.name}}:{{input.password}}", "text", "ada:[masked]"),
        ("Basic {{ (input.name ~ input.password) | b64encode }}", "text", "Basic [masked]"),
        (
            "{{env.API_URL}}/{{input.name}}?t={{input.password}}",
            "url",
            "https://api.example.com/v1/ada?t=[masked]",
        ),
        ('{"a":"{{input.password}}","b":{{input.password}}}', "json", '{"a":"[masked]","b":"[masked]"}'),
        ("{{input.password}}", "text", "[masked]"),
        ("{{input.password}}", "url", "[masked]"),
    ],
)
def test_what_is_shown_has_no_secret_in_it(source, mode, shown):
    template = compile_template(source)
    assert template.is_secret(scope())
    assert template.shown(scope(), mode) == shown


def test_what_is_shown_and_what_is_sent_come_from_one_evaluation():
    template = compile_template("{{$uuid}} {{input.password}}")
    where = scope().at("register")
    rendered, shown = template.rendered_and_shown(where)
    assert rendered.removesuffix(' p"w/d') == shown.removesuffix(" [masked]")
    assert rendered == template.text(scope().at("register"))


def test_a_template_tells_the_secret_values_it_renders():
    template = compile_template("{{input.name}} {{input.password}} {{ input.password ~ '!' }}")
    assert template.secret_values(scope()) == ['p"w/d', 'p"w/d!']
    assert not compile_template("{{input.name}} {{ input.name ~ '!' }} {{$uuid}}").is_secret(scope())


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (
            "{{env.API_URL}}/users/{{register.userId}}/{{ input.n + 1 }}?x={{input.n}}#y",
            "/users/{register.userId}/{expr}",
        ),
        ("https://api.example.com/users/{{a.b}}", "/users/{a.b}"),
        ("https://{{input.env}}.example.com/users", "/users"),
        ("{{env.SCHEME}}://{{env.HOST}}/x", "/x"),
        ("{{env.HOST}}:8080/x", "/x"),
        ("/users/{{a.b}}", "/users/{a.b}"),
        ("{{env.API_URL}}", None),
        ("{{env.API_URL}}?x=1", None),
        ("https://h", None),
        ("https://h?a=/b", None),
        ("", None),
        ("{{ a ~ b }}/c", "/c"),
    ],
)
def test_the_path_template_is_the_unrendered_path(source, path):
    assert compile_template(source).path_template() == path


def test_a_tree_renders_its_templates_and_shares_the_rest():
    fixed = {"a": [1, 2, {"b": None}]}
    source = {
        "id": "{{register.userId}}",
        "fixed": fixed,
        "list": ["x", "{{input.n}}", ["hi {{input.name}}", 3]],
        "brace": "{",
    }
    tree, _ = compile_tree(source)
    found = tree.render(scope(), "body")
    assert found == {"id": 42, "fixed": fixed, "list": ["x", 4, ["hi ada", 3]], "brace": "{"}
    assert list(found) == list(source)
    assert found["fixed"] is fixed
    assert source["id"] == "{{register.userId}}"
    assert not tree.constant
    assert tree.value is source


def test_a_tree_without_templates_is_its_value():
    value = {"a": ["x", {"b": 1}], "c": 1}
    tree, found = compile_tree(value)
    assert tree.constant
    assert found == []
    assert rendered(value, scope()) is value
    assert rendered(None, scope()) is None
    assert rendered("plain", scope()) == "plain"
    assert rendered("{{input.n}}", scope()) == 4


def test_a_tree_tells_its_templates_and_the_place_of_each():
    tree, found = compile_tree({"a b": ["{{x.y}}", "{"], "c": {"d": "{{x}} {{z}}"}, "e": "{{w}}"})
    assert [one.source for one in found] == ["{{x.y}}", "{{x}} {{z}}", "{{w}}"]
    places = [spell("body", tree.place(number)) for number in range(3)]
    assert places == ["body['a b'][0]", "body.c.d", "body.e"]


def test_a_survey_finds_all_that_is_wrong_and_what_is_right_too():
    value = {"a": "{{", "b": ["{{}}", "{{ok}}", 1], "{{k}}": 1, "c": {"{{l}}": "{% x"}}
    with pytest.raises(TemplateError):
        compile_tree(value)
    found = {spell("body", place): one for place, one in survey(value) if isinstance(one, Template)}
    assert {where: one.source for where, one in found.items()} == {"body.b[1]": "{{ok}}"}
    assert {(spell("body", at), one.code) for at, one in survey(value) if isinstance(one, TemplateError)} == {
        ("body.a", "template.unclosed"),
        ("body.b[0]", "template.empty"),
        ("body", "template.key"),
        ("body.c", "template.key"),
        ("body.c['{{l}}']", "template.tag"),
    }


@pytest.mark.parametrize("value", [{"{{k}}": 1}, [{"x": {"a {{": "b"}}]])
def test_braces_in_a_name_are_refused(value):
    with pytest.raises(TemplateError) as caught:
        compile_tree(value)
    assert caught.value.code == "template.key"


def test_two_names_make_no_braces_together():
    assert compile_tree({"a{": 1, "{b": 2})[0].constant


def test_a_tree_nested_too_deeply_is_refused():
    value = "{{a}}"
    for _ in range(500):
        value = [value]
    with pytest.raises(TemplateError) as caught:
        compile_tree(value)
    assert caught.value.code == "template.depth"
    assert [one.code for _, one in survey(value)] == ["template.depth"]


def test_a_step_error_in_a_tree_has_its_place():
    value = {"a": [0, "{{input.n}}", "{{input.gone}}", "{{input.gone}}"]}
    error = refused(rendered, value, scope())
    assert (error.code, error.where) == ("reference.missing", "body.a[2]")
    assert refused(rendered, "{{input.gone}}", scope()).where == "body"


@pytest.mark.parametrize("value", ["a" * 60, ["a" * 60], {"k": ["a" * 60]}])
def test_a_tree_of_many_large_values_is_refused(value):
    small = scope(inputs={"v": value}, run=RunValues(max_text=100))
    assert rendered(["{{input.v}}"] * 15, small) == [value] * 15
    error = refused(rendered, ["{{input.v}}"] * 30, small)
    assert error.code == "limit.text"
    assert int(error.where.removeprefix("body[").removesuffix("]")) > 15  # the one that was too much


def test_values_that_double_from_step_to_step_are_refused_before_they_take_the_memory():
    where = scope(outputs={"set": {"v": "x"}}, run=RunValues(max_text=1000))

    def double(times):
        for _ in range(times):
            where.outputs["set"] = {"v": rendered(["{{set.v}}", "{{set.v}}"], where)}

    assert refused(double, 100).code == "limit.text"


def test_equal_parts_of_trees_are_grown_once():
    grown, known = {}, {}

    def remembered(source):
        return known.setdefault(source, compile_template(source))

    trees = [
        compile_tree(
            {"n": n, "part": {"a": [1, {"b": "{{input.name}}"}]}, "plain": [n > 5]}, remembered, grown
        )
        for n in range(3)
    ]
    assert [tree.render(scope(), "body") for tree, _ in trees] == [
        {"n": n, "part": {"a": [1, {"b": "ada"}]}, "plain": [False]} for n in range(3)
    ]
    assert [found for _, found in trees] == [[known["{{input.name}}"]]] * 3
    assert [tree.place(0) for tree, _ in trees] == [("part", "a", 1, "b")] * 3
    assert len(grown) == 2


def test_parts_that_only_look_equal_are_not_taken_for_each_other():
    class Shy(str):
        __slots__ = ()

        def __repr__(self):
            return "'?'"

    grown = {}
    values = [{"x": [one]} for one in (1, 1.0, True, "1", Shy("{{input.name}}"), Shy("{{input.n}}"))]
    found = [
        compile_tree(value, compile_template, grown)[0].render(scope(), "body")["x"][0] for value in values
    ]
    assert [repr(one) for one in found] == ["1", "1.0", "True", "'1'", "'ada'", "4"]


def test_only_so_many_parts_are_remembered():
    grown = {}
    for n in range(1100):
        assert compile_tree({"x": [n]}, compile_template, grown)[0].value == {"x": [n]}
    assert len(grown) == 1000


def test_a_tree_tells_what_is_secret_in_it():
    tree, _ = compile_tree({"a": "{{input.password}}", "b": ["{{input.name}}"]})
    assert tree.is_secret(scope())
    assert tree.secret_values(scope()) == ['p"w/d']
    assert tree.secret_keys(scope()) == {"a"}
    assert compile_tree("{{input.password}}")[0].secret_keys(scope()) == set()
    assert not compile_tree(["{{input.name}}"])[0].is_secret(scope())
    assert not compile_tree(["no reference"])[0].is_secret(scope())


def test_a_tree_takes_equal_texts_from_its_callers_memory():
    asked: list[str] = []

    def remembered(text: str) -> Template:
        asked.append(text)
        return compile_template(text)

    compile_tree(["{{a}}", "plain", {"b": "{{a}}"}], remembered)
    assert asked == ["{{a}}", "{{a}}"]


texts = st.lists(
    st.sampled_from(
        [
            "{{",
            "}}",
            "{",
            "}",
            "'",
            '"',
            "\\",
            "{%",
            "a",
            "input.a",
            ".",
            "[0]",
            " ",
            "|",
            "-",
            "://",
            "/",
            "?",
            "@",
            "#",
            "(",
            "default(1)",
        ]
    )
    | st.text(max_size=3)
).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(texts)
def test_any_text_compiles_or_is_a_template_error(text):
    try:
        compile_template(text)
    except TemplateError:
        return


@given(
    JSON,
    st.sampled_from(
        [
            "{{input.a}}",
            "x{{input.a}}",
            "{{input.b}}/{{input.a}}?{{input.a}}",
            "https://{{input.a}}/",
            '"{{input.a}}"',
            "{{ input.a ~ 1 }}",
        ]
    ),
)
def test_any_values_render_or_are_a_step_error(value, source):
    template, where = compile_template(source), scope(inputs={"a": value, "b": value})
    for render in (
        template.render,
        template.text,
        template.url,
        template.json_text,
        template.shown,
        template.secret_values,
    ):
        try:
            render(where)
        except StepError:
            continue
    template.path_template()


@given(JSON)
def test_a_constant_tree_is_what_it_was(value):
    with suppress(TemplateError):
        tree, found = compile_tree(value)
        assert tree.constant == (not found)
        if tree.constant:
            assert tree.render(scope(), "body") is value


@given(JSON)
def test_a_survey_and_a_tree_agree(value):
    found = list(survey(value))
    wrong = [one for _, one in found if isinstance(one, TemplateError)]
    if wrong:
        with pytest.raises(TemplateError) as caught:
            compile_tree(value)
        assert caught.value.code in {one.code for one in wrong}
    else:
        tree, templates = compile_tree(value)
        assert [one.source for _, one in found] == [one.source for one in templates]
        assert [tree.place(number) for number in range(len(found))] == [place for place, _ in found]


@pytest.mark.parametrize(
    ("source", "leading"),
    [("{{env.API}}/x", "env.API"), ("{{ a.b | trim }}", "a.b | trim"), ("x{{a}}", ""), ("/x", "")],
)
def test_a_template_tells_what_it_begins_with(source, leading):
    assert compile_template(source).leading == leading
