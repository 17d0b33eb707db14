"""What readers of JUnit XML agree on: elements, their order, their attributes, and counts that add up.

The names are those of the schema of Jenkins' xUnit plugin, the strictest of the common readers.
"""

import re

SECONDS = re.compile(r"[0-9]+\.[0-9]{3}")
SHAPE = {
    "testsuites": ({"testsuite"}, set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"properties", "testcase"},
        {"name", "tests", "failures", "errors"},
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    ),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, {"name", "value"}),
    "testcase": (
        {"failure", "error", "skipped", "system-out"},
        {"name", "classname", "time"},
        {"name", "classname", "time"},
    ),
    "failure": (set(), {"message"}, {"message", "type"}),
    "error": (set(), {"message"}, {"message", "type"}),
    "skipped": (set(), {"message"}, {"message", "type"}),
    "system-out": (set(), set(), set()),
}


def check_shape(report):
    """Check the root element of a report and everything in it."""
    assert report.tag == "testsuites"
    for element in report.iter():
        children, needed, known = SHAPE[element.tag]
        assert {child.tag for child in element} <= children, element.tag
        assert needed <= element.attrib.keys() <= known, element.tag
        if "time" in element.attrib:
            assert SECONDS.fullmatch(element.get("time"))
        if "timestamp" in element.attrib:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", element.get("timestamp"))
    for suite in (report, *report):
        assert int(suite.get("tests")) == len([*suite.iter("testcase")])
        assert int(suite.get("failures")) == len([*suite.iter("failure")])
        assert int(suite.get("errors")) == len([*suite.iter("error")])
    for suite in report:
        assert int(suite.get("skipped")) == len([*suite.iter("skipped")])
        places = [child.tag for child in suite]
        assert "properties" not in places[1:], "they come first"
        paths = [case.get("name") for case in suite.iter("testcase")]
        assert len(set(paths)) == len(paths), "readers tell cases apart by their names"
