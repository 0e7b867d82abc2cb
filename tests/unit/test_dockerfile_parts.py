"""The parts of the Dockerfile collector: shell words, variables, `.dockerignore` patterns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.collect.dockerfile.context import context_facts, excluded, ignore_rules
from auditor.collect.dockerfile.expand import Scope, expand
from auditor.collect.dockerfile.shell import MAX_COMMANDS, TooMuchError, commands

VARIABLES = {"TOOLS": " gcc  make ", "ONE": "a b"}


def lookup(name: str, modifier: str) -> tuple[str, tuple[str, ...]]:
    known = VARIABLES.get(name)
    return (f"${{{name}}}", (name,)) if known is None or modifier else (known, ())


def words(script: str) -> list[list[str]]:
    return [[word.text for word in found.words] for found in commands(script, lookup)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("a && b || c; d | e &", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("a 'b c' \"d e\" f\\ g", [["a", "b c", "d e", "f g"]]),
        ("apk add $TOOLS", [["apk", "add", "gcc", "make"]]),
        ('apk add "$ONE" $ONE x$ONE', [["apk", "add", "a b", "a", "b", "xa", "b"]]),
        ("apk add $OTHER", [["apk", "add", "${OTHER}"]]),
        ("X='p q'; apk add $X", [["apk", "add", "p", "q"]]),
        ("export X=p && apk add $X", [["export", "X=p"], ["apk", "add", "p"]]),
        ("X=$(date); apk add $X", [["date"], ["apk", "add", "${X}"]]),
        ("for p in x y; do apk add $p; done", [["apk", "add", "x", "y"]]),
        ("if [ -f x ]; then a; else b; fi", [["[", "-f", "x", "]"], ["a"], ["b"]]),
        ("case $ONE in a) b;; esac", [["a"], ["b"]]),
        ("(cd x && a); { b; }", [["cd", "x"], ["a"], ["b"]]),
        ("a # b && c\nd", [["a"], ["d"]]),
        ("a \\\n b", [["a", "b"]]),
        ("A=1 B=2 a", [["a"]]),
        ("a 2>&1 > f", [["a"]]),
        (
            "sudo -u x env A=b apt-get update",
            [
                ["sudo", "-u", "x", "env", "A=b", "apt-get", "update"],
                ["env", "A=b", "apt-get", "update"],
                ["apt-get", "update"],
            ],
        ),
        ("sh -ec 'a && b'", [["sh", "-ec", "a && b"], ["a"], ["b"]]),
        (
            "find . -exec chmod 777 {} \\; && x",
            [["find", ".", "-exec", "chmod", "777", "{}", ";"], ["chmod", "777", "{}"], ["x"]],
        ),
        ("xargs -n 1 chmod a+r", [["xargs", "-n", "1", "chmod", "a+r"], ["chmod", "a+r"]]),
        ("echo 'open", [["echo", "open"]]),
    ],
)
def test_a_script_is_read_as_simple_commands(script: str, expected: list[list[str]]) -> None:
    assert words(script) == expected


def test_redirections_and_operators_are_kept() -> None:
    first, second = commands("echo x >> /etc/f && tee < g", lookup)
    assert first.redirects == [(">>", "/etc/f", 10)]
    assert (second.before, second.redirects) == ("&&", [("<", "g", 26)])


def test_words_know_where_they_stand() -> None:
    script = "a &&\n  apk add  gcc"
    found = commands(script, lookup)[1]
    assert [script[word.offset :].split()[0] for word in found.words] == ["apk", "add", "gcc"]


def test_what_is_unknown_is_named() -> None:
    (found,) = commands("apk add $OTHER", lookup)
    assert found.unresolved == ["OTHER"]


def test_a_script_without_end_is_refused_not_cut_short() -> None:
    with pytest.raises(TooMuchError):
        commands("a;" * (MAX_COMMANDS + 5), lookup)


@given(st.text(alphabet="ab $(){}`'\"\\;&|<>#\n=-!*", max_size=120))
@settings(max_examples=500, deadline=None)
def test_any_script_is_taken(script: str) -> None:
    for found in commands(script, lookup):
        assert all(0 <= word.offset <= len(script) for word in found.words)


WORD = st.text(alphabet="abcdefgh-./_0123456789", min_size=1, max_size=8)


@given(st.lists(st.lists(WORD, min_size=1, max_size=5), min_size=1, max_size=6), st.data())
@settings(max_examples=200, deadline=None)
def test_plain_commands_come_back_as_they_were_joined(
    lists: list[list[str]], data: st.DataObject
) -> None:
    lists = [["run", *found] for found in lists]
    operator = data.draw(st.sampled_from([" && ", "; ", " || ", "\n", " | "]))
    script = operator.join(" ".join(found) for found in lists)
    assert words(script) == lists


@pytest.mark.parametrize(
    ("word", "text", "unresolved"),
    [
        ("$A", "one", ()),
        ("${A}x", "onex", ()),
        ('"$A" y', "one y", ()),
        ("'$A'", "$A", ()),
        ("\\$A", "$A", ()),
        ("${B:-two}", "two", ()),
        ("${EMPTY:-two}", "two", ()),
        ("${EMPTY-two}", "", ()),
        ("${A:+yes}${B:+no}", "yes", ()),
        ("${B:-${A}}", "one", ()),
        ("${PATHS#*/}", "b/c", ()),
        ("${PATHS##*/}", "c", ()),
        ("${PATHS%/*}", "a/b", ()),
        ("${PATHS%%/*}", "a", ()),
        ("$B", "${B}", ("B",)),
        ("$NEVER", "${NEVER}", ("NEVER",)),
        ("${", "${", ()),
        ("5$", "5$", ()),
    ],
)
def test_variables_expand_as_docker_does(word: str, text: str, unresolved: tuple[str, ...]) -> None:
    scope = Scope(args={"A": "arg", "B": None}, env={"A": "one", "EMPTY": "", "PATHS": "a/b/c"})
    found = expand(word, scope)
    assert (found.text, found.unresolved) == (text, unresolved)


def test_from_scratch_nothing_else_sets_a_variable() -> None:
    assert expand("x$NEVER", Scope(complete=True)).text == "x"
    assert expand("$TARGETARCH", Scope(complete=True)).unresolved == ("TARGETARCH",)


def test_values_that_double_do_not_grow_for_ever() -> None:
    scope = Scope(env={"A": "x" * 1000})
    for _ in range(40):
        scope.env["A"] = expand("$A$A", scope).text
    assert len(scope.env["A"] or "") < 200_000


@pytest.mark.parametrize(
    ("text", "out", "inside"),
    [
        ("*.pem\n.git", ["a.pem", ".git/config"], ["d/a.pem", "x/.git/config"]),
        ("**/*.pem", ["a.pem", "d/a.pem", "d/e/a.pem"], ["a.pem2"]),
        ("*\n!src\n!*.md", ["a", "d/r.md"], ["src/x", "src/a.pem", "r.md"]),
        ("foo/**", ["foo/a", "foo/a/b"], ["foo", "bar/foo/a"]),
        ("**", ["a", "b/c"], []),
        ("/foo/\n# c\n  !foo/bar", ["foo/a"], ["foo/bar", "# c"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/c"], ["b"]),
        (".\n../x\n\n", [], ["a", "x"]),
        ("b/../c", ["c"], ["b"]),
        ("[^a]*\nq\\*", ["bb", "q*"], ["ab"]),
        ("docs/**\n!docs/**/x.md", ["docs/a"], ["docs/x.md", "docs/d/x.md"]),
        ("\ufeff.env\r\n.git\r\n", [".env", ".git"], ["env"]),
    ],
)
def test_ignore_patterns_match_as_docker_does(text: str, out: list[str], inside: list[str]) -> None:
    rules = ignore_rules(text)
    assert [path for path in out if not excluded(path, rules)[0]] == []
    assert [path for path in inside if excluded(path, rules)[0]] == []


@given(st.text(alphabet="ab*?[]!/\\^.#\n ", max_size=60), st.text(alphabet="ab/.", max_size=12))
@settings(max_examples=300, deadline=None)
def test_any_ignore_file_is_taken(text: str, path: str) -> None:
    excluded(path, ignore_rules(text))


def test_names_in_the_context_are_evidence(tmp_path: Path) -> None:
    for name in ("app/main.py", "app/.env", ".git/config", "keys/site.pem", "keys/ca.pem"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / ".dockerignore").write_text(".git\n.env\n*.pem\nkeys\n!keys/ca.pem\n")
    facts = context_facts(tmp_path / "Dockerfile", [".env", ".git", "*.pem"])
    assert facts["kept_out"] == {".env": ".env", ".git": ".git", "*.pem": "*.pem"}
    assert facts["named"] == [
        {"name": "app/.env", "pattern": ".env", "let_in": None},
        {"name": "keys/ca.pem", "pattern": "*.pem", "let_in": "!keys/ca.pem"},
    ]
    assert facts["complete"]


def test_the_dockerfiles_own_ignore_file_goes_first(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text(".git\n")
    (tmp_path / "web.Dockerfile.dockerignore").write_text("**\n")
    assert context_facts(tmp_path / "web.Dockerfile", [".git"])["kept_out"] == {".git": "**"}
    assert context_facts(tmp_path / "Dockerfile", [".git"])["file"] == ".dockerignore"


def test_an_unreadable_ignore_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_bytes(b"\xff\xfe\x00bin")
    facts = context_facts(tmp_path / "Dockerfile", [".git"])
    assert re.search("UTF-8", facts["error"])
    assert facts["kept_out"] == {".git": None}
