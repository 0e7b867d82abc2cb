"""CEL within bounds: values, errors and what we cannot tell are kept apart, nothing blows up."""

from __future__ import annotations

import time
from typing import Any

import pytest

from checks.kubernetes._admission.cel import CelError, Data, Expression, UnsupportedError, weigh

OBJECT = {
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {"hostPID": True, "containers": [{"name": "a", "image": "r/a:1"}, {"name": "b"}]},
}


def value(text: str, **more: Any) -> Any:
    return Expression(text).evaluate(Data({"object": OBJECT, **more}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("object.spec.?hostNetwork.orValue(false)", False),
        ("object.spec.?hostPID.orValue(false)", True),
        ("has(object.spec.hostPID) && object.spec.hostPID", True),
        ("object.spec.containers.all(c, has(c.image))", False),
        ("object.spec.containers.exists(c, has(c.image) && c.image.startsWith('r/'))", True),
        ("object.spec.containers.all(i, c, i < 2)", True),
        ("object.spec.containers.map(c, c.name)", ["a", "b"]),
        ("object.spec.containers.map(c, c.name).join(',')", "a,b"),
        ("object.metadata.labels", {"app": "web"}),
        ("sets.contains(['a', 'b'], ['a'])", True),
        ("[3, 1, 2].min() + [3, 1].max() + [1, 2].sum()", 7),
        ("[1.5, 2.5].sum()", 4.0),
        ("['b', 'a'].isSorted()", False),
        ("quantity('1Gi') == quantity('1024Mi')", True),
        ("quantity('1500m').isGreaterThan(quantity('1'))", True),
        ("quantity('2k').asInteger()", 2000),
        ("quantity('1').sub(quantity('250m')).asApproximateFloat()", 0.75),
        ("isQuantity('1Gi') && !isQuantity('1GiB')", True),
        ("variables.limit + 1", 4),
        ("'%s-%d'.format(['a', 1])", "a-1"),
    ],
)
def test_values(text: str, expected: Any) -> None:
    assert value(text, variables={"limit": 3}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "object.spec.hostNetwork == true",
        "object.spec.containers[7].name == 'x'",
        "object.spec.containers.all(c, c.image != '')",
        "1 / 0 == 1",
        "int('x') == 1",
        "object.metadata.name + dyn(1) == 'x'",
        "quantity('x') == quantity('1')",
        "quantity('500m').asInteger() == 0",
        "[].min() == 1",
        "[9223372036854775807, 1].sum() > 0",
        "variables.missing",
    ],
)
def test_errors_are_the_expressions_own(text: str) -> None:
    with pytest.raises(CelError):
        value(text, variables={})


@pytest.mark.parametrize(
    "text",
    [
        "object.",
        "nothing.at.all",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "object.metadata.name.find('[a-z]')",
        "url('https://x').getHost() == 'x'",
        "object.?nothing",  # an optional is no JSON
        "object.spec.containers.indexOf('a') == 0",
        "[dyn(1), dyn('a')].min() == 1",
        "oldObject.?spec.hasValue()",
        "x" * 20_000,
        "(" * 500 + "true" + ")" * 500,
        "lists.range(1000000000).size() > 0",
    ],
)
def test_what_we_cannot_tell_is_neither(text: str) -> None:
    with pytest.raises(UnsupportedError):
        value(text)


def test_text_of_another_type_is_refused() -> None:
    for text in (None, 1, ["true"], {"a": 1}):
        with pytest.raises(UnsupportedError):
            Expression(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "['" + "a" * 99 + "']" + ".map(x, x + x)" * 30 + "[0].size() > 0",
        "'%s'" % ("a" * 900) + ".replace('', '%s')" % ("a" * 900) * 3 + ".size() > 0",
        "object.a.map(x, object.a.map(y, object.a.map(z, object.b + object.b))).size() > 0",
        "object.a.all(x, object.a.all(y, object.a.all(z, x + y + z > 0)))",
        "object.a.map(x, object.b).join(object.b).split('').size() > 0",
        "object.a.distinct().size() > 0 && object.a.map(x, object.b).distinct().size() > 0",
    ],
)
def test_an_expression_that_may_take_too_long_is_not_run(text: str) -> None:
    data = Data({"object": {"a": list(range(5000)), "b": "b" * 20_000}})
    started = time.monotonic()
    with pytest.raises(UnsupportedError):
        Expression(text).evaluate(data)
    assert time.monotonic() - started < 2


def test_nested_loops_over_a_pod_are_run() -> None:
    containers = [{"name": f"c{n}", "drop": ["ALL", "NET_RAW"]} for n in range(20)]
    text = (
        "object.containers.all(c, c.drop.exists(d, d == 'ALL')) && object.containers.all(c,"
        " object.containers.exists_one(other, other.name == c.name))"
    )
    assert Expression(text).evaluate(Data({"object": {"containers": containers}})) is True


def test_loops_over_lists_that_loops_made_are_run() -> None:
    """As templates of Gatekeeper's library are written: exemptions by prefix, then the rest."""
    images = [{"image": f"r/{n}:1", "drop": ["ALL"]} for n in range(10)]
    text = (
        "variables.all.filter(c, !(c.image in variables.all.filter(e, variables.exempt.exists(p,"
        " string(e.image).startsWith(p))).map(e, e.image))).map(c, c.drop).all(d, 'ALL' in d)"
    )
    data = Data({"variables": {"all": images, "exempt": ["x/", "r/1"]}})
    assert Expression(text).evaluate(data) is True


def test_what_may_be_spent_is_kept_only_for_what_is_no_larger() -> None:
    expression = Expression("object.a.all(x, object.a.all(y, object.b.contains(x + y)))")
    small = {"a": ["a"], "b": "aa"}
    large = {"a": ["a" * 9] * 2000, "b": "a" * 100_000}
    assert expression.evaluate(Data({"object": small})) is True
    with pytest.raises(UnsupportedError):
        expression.evaluate(Data({"object": large}))
    assert expression.evaluate(Data({"object": small})) is True


def test_data_that_must_not_reach_the_library_is_refused() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = {"a": deep}
    round_about: dict[str, Any] = {}
    round_about["a"] = [round_about]
    for bad in (deep, round_about, {"a": 2**64}, {"a": "\ud800"}, {1: 2}, {"a": {1}}, {"a": b"x"}):
        with pytest.raises(UnsupportedError):
            Data({"object": bad})
    with pytest.raises(UnsupportedError):
        Data({"object": ["x" * 1000] * 1000})


def test_weight_counts_characters_and_values() -> None:
    assert weigh(None) == weigh(True) == weigh(1.5) == 1
    assert weigh("abc") == 4
    assert weigh({"a": [1, 2]}) == 1 + 2 + 1 + 2


def test_what_an_expression_looks_at() -> None:
    found = Expression(
        "object.spec.?x.orValue(0) == 1 && object.metadata.labels['a'] == variables.b"
        " && has(request.name) && [1].all(object, object == 1)"
    )
    assert found.paths == {
        ("object", "spec", "x"),
        ("object", "metadata", "labels", "a"),
        ("variables", "b"),
        ("request", "name"),
    }
    assert found.variables == {"b"}
    assert found.uses("object", "metadata", "labels")
    assert found.uses("object", "spec", "x", "y")
    assert not found.uses("object", "metadata", "namespace")
    assert not found.uses("namespaceObject")
    assert Expression("object == null").uses("object", "metadata", "namespace")
    assert Expression("variables.size() == 0").variables == {"*"}
