"""The simple commands of a shell script, with known variables put in, and where each word stands.

This is not a shell: it recognises words, quotes, operators, reserved words, redirections, here-
documents' bodies (through its caller) and assignments, which is what rules about packages and
permissions need. It never fails: what it does not understand becomes a command that no rule knows.
Commands inside others (`sh -c`, `xargs`, `find -exec`, `sudo`, `$(…)`) are listed as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from auditor.collect.dockerfile.expand import closing
from auditor.collect.dockerfile.wrappers import ASSIGNMENT, SHELLS, Word, shell_script, wrapped

Lookup = Callable[[str, str], tuple[str, tuple[str, ...]]]
"""(name, modifier) of a variable -> its text and the names that could not be resolved."""

MAX_COMMANDS = 5000
MAX_WORDS = 20_000
"""Bounds on what one script may hold; a script beyond them is refused."""
MAX_EXPANDED = 1024 * 1024
"""Characters that the variables of one script may become in all."""
_MAX_DEPTH = 6
_MAX_WRAPPERS = 8

_SPACE = " \t\r\x0b\x0c"
_OPERATORS = ("&&", "||", ";;", "|&", ";", "&", "|", "(", ")", "\n")
_REDIRECTS = ("&>>", "&>", "<<<", "<<-", "<<", ">>", "<&", ">&", "<>", ">|", "<", ">")
_RESERVED = frozenset(
    {
        *("if", "then", "elif", "else", "while", "until", "do", "fi", "done"),
        *("esac", "!", "{", "}", "time"),
    }
)
_DIGITS = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPORTERS = frozenset({"export", "local", "readonly", "declare", "typeset"})


class TooMuchError(Exception):
    """A script holds more commands or words than are looked at."""


@dataclass(slots=True)
class Command:
    """One simple command. `before` is the operator in front of it ("" for the first).

    `redirects` are (operator, target, offset); `unresolved` names what could not be put in;
    `via` is the command that runs this one, such as `xargs` or `sh -c`.
    """

    words: list[Word]
    before: str
    redirects: list[tuple[str, str, int]] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    via: str | None = None


@dataclass(slots=True)
class _Budget:
    """What is left of `MAX_EXPANDED`; shared by a script and the scripts inside it."""

    left: int = MAX_EXPANDED


@dataclass(slots=True)
class _Piece:
    """A part of a word: its text, and whether quotes keep it from being split."""

    text: str
    quoted: bool


def commands(script: str, lookup: Lookup) -> list[Command]:
    """Return the simple commands of a script, in order; commands inside others follow those.

    Raises `TooMuchError` beyond `MAX_COMMANDS` or `MAX_WORDS`.
    """
    return _Script(script, lookup, {}, _Budget()).run()


def exec_commands(words: list[Word], lookup: Lookup) -> list[Command]:
    """The command of an exec form, and the commands that it runs in turn."""
    if not words:
        return []
    command = Command(words, "")
    return [command, *_Script("", lookup, {}, _Budget()).inside(command)]


class _Script:
    def __init__(
        self,
        text: str,
        lookup: Lookup,
        variables: dict[str, list[str] | None],
        budget: _Budget,
        base: int = 0,
        depth: int = 0,
        fixed: int | None = None,
    ) -> None:
        self.text = text
        self.lookup = lookup
        self.variables = variables
        self.budget = budget
        self.base = base
        self.depth = depth
        # The offset of everything inside a quoted script, whose own places are not known.
        self.fixed = fixed
        self.position = 0
        self.found: list[Command] = []
        self.current = Command([], "")
        self.nested: list[Command] = []
        self.assigned: list[tuple[str, list[str]]] = []
        self.words = 0

    def run(self) -> list[Command]:
        while self.position < len(self.text):
            if len(self.found) > MAX_COMMANDS or self.words > MAX_WORDS:
                raise TooMuchError
            character = self.text[self.position]
            if character in _SPACE:
                self.position += 1
            elif character == "\\" and self.text.startswith("\\\n", self.position):
                self.position += 2
            elif character == "#" and self._at_word_start():
                end = self.text.find("\n", self.position)
                self.position = len(self.text) if end < 0 else end
            elif not self._redirect() and not self._operator():
                self._word()
        self._finish("")
        return self.found

    def _at_word_start(self) -> bool:
        return self.position == 0 or self.text[self.position - 1] in _SPACE + "\n;&|()"

    def _offset(self, position: int) -> int:
        return self.base + position if self.fixed is None else self.fixed

    def _operator(self) -> bool:
        for operator in _OPERATORS:
            if self.text.startswith(operator, self.position):
                self.position += len(operator)
                self._finish(operator)
                return True
        return False

    def _redirect(self) -> bool:
        match = _DIGITS.match(self.text, self.position)
        start = match.end() if match else self.position
        if start > self.position and not self._at_word_start():
            return False
        for operator in _REDIRECTS:
            if not self.text.startswith(operator, start):
                continue
            self.position = start + len(operator)
            while self.text[self.position : self.position + 1] in set(_SPACE):
                self.position += 1
            offset = self._offset(self.position)
            target = "".join(piece.text for piece in self._pieces())
            self.current.redirects.append((operator, target, offset))
            return True
        return False

    def _word(self) -> None:
        start = self.position
        pieces = self._pieces()
        if self.position == start:  # never stand still
            self.position += 1
            return
        raw = self.text[start : self.position]
        if not self.current.words and not self.assigned and raw in _RESERVED:
            return
        fields = _split(pieces)
        self.words += len(fields)
        offset = self._offset(start)
        assignment = ASSIGNMENT.fullmatch(raw)
        if assignment and self._assigning():
            text = "".join(piece.text for piece in pieces)
            name, _, value = text.partition("=")
            # A quoted value stays one string and is split where it is used without quotes.
            self.assigned.append((name.rstrip("+"), [value]))
            if not self.current.words:
                return
        self.current.words.extend(Word(text, offset) for text in fields)

    def _assigning(self) -> bool:
        words = self.current.words
        return not words or words[0].text in _EXPORTERS

    def _pieces(self) -> list[_Piece]:
        """Read one word: up to a space or an operator outside quotes."""
        pieces: list[_Piece] = []
        text = self.text
        while self.position < len(text):
            character = text[self.position]
            if character in _SPACE + "\n;&|()<>":
                break
            self.position += 1
            if character == "\\":
                if text[self.position : self.position + 1] != "\n":
                    pieces.append(_Piece(text[self.position : self.position + 1], True))
                self.position += 1
            elif character == "'":
                end = text.find("'", self.position)
                end = len(text) if end < 0 else end
                pieces.append(_Piece(text[self.position : end], True))
                self.position = end + 1
            elif character == '"':
                self._double_quoted(pieces)
            elif character in "$`":
                pieces.append(self._substitution(character, quoted=False))
            else:
                pieces.append(_Piece(character, False))
        return pieces

    def _double_quoted(self, pieces: list[_Piece]) -> None:
        text = self.text
        pieces.append(_Piece("", True))
        while self.position < len(text):
            character = text[self.position]
            self.position += 1
            if character == '"':
                return
            if character == "\\" and text[self.position : self.position + 1] in {
                '"',
                "\\",
                "$",
                "`",
                "\n",
            }:
                escaped = text[self.position]
                pieces.append(_Piece("" if escaped == "\n" else escaped, True))
                self.position += 1
            elif character in "$`":
                pieces.append(self._substitution(character, quoted=True))
            else:
                pieces.append(_Piece(character, True))

    def _substitution(self, character: str, *, quoted: bool) -> _Piece:
        text, start = self.text, self.position
        if character == "`":
            end = text.find("`", start)
            end = len(text) if end < 0 else end
            self.position = end + 1
            return self._inner(start, end)
        if text.startswith("(", start):
            end = _closing_parenthesis(text, start)
            self.position = end
            arithmetic = text.startswith("((", start)
            return self._inner(start + 1, end - 1, run=not arithmetic)
        if text.startswith("{", start):
            end = closing(text, start)
            inside = text[start + 1 : end - 1]
            name = _NAME.match(inside)
            self.position = max(end, start)
            if name is None:
                return _Piece("$" if end == start else "${}", quoted)
            return self._variable(name.group(), inside[name.end() :], quoted=quoted)
        name = _NAME.match(text, start)
        if name is None:
            if text[start : start + 1] in set("0123456789@*#?!$-") - {""}:
                self.position += 1
                self.current.unresolved.append(f"${text[start]}")
                return _Piece(f"${text[start]}", quoted)
            return _Piece("$", quoted)
        self.position = name.end()
        return self._variable(name.group(), "", quoted=quoted)

    def _inner(self, start: int, end: int, *, run: bool = True) -> _Piece:
        """The output of a command: unknown, but the command itself is listed."""
        self.current.unresolved.append("$(…)")
        if run and self.depth < _MAX_DEPTH:
            script = self.text[start:end]
            inner = _Script(
                script,
                self.lookup,
                dict(self.variables),
                self.budget,
                self.base + start,
                self.depth + 1,
                self.fixed,
            )
            for command in inner.run():
                command.via = command.via or "$(…)"
                self.nested.append(command)
        return _Piece("$(…)", True)

    def _variable(self, name: str, modifier: str, *, quoted: bool) -> _Piece:
        text, unresolved = self._value(name, modifier)
        self.budget.left -= len(text)
        if self.budget.left < 0:
            text, unresolved = f"${{{name}}}", (name,)
        self.current.unresolved.extend(unresolved)
        return _Piece(text, quoted or bool(unresolved))

    def _value(self, name: str, modifier: str) -> tuple[str, tuple[str, ...]]:
        if name not in self.variables or modifier:
            return self.lookup(name, modifier)
        values = self.variables[name]
        return (f"${{{name}}}", (name,)) if values is None else (" ".join(values), ())

    def _finish(self, operator: str) -> None:
        """End the current command; what follows stands after `operator`."""
        command, self.current = self.current, Command([], operator)
        self._define(command)
        texts = [word.text for word in command.words]
        if texts[:1] == ["for"]:
            command.words.clear()
        elif texts[:1] == ["case"] and "in" in texts:
            del command.words[: texts.index("in") + 1]
        if command.words or command.redirects:
            self.found.append(command)
            if self.depth < _MAX_DEPTH:
                self.found.extend(self.inside(command))
        elif not operator or command.before not in ("", "\n"):
            # `a && { b` has no command of its own between && and b: the operator stays.
            self.current.before = operator if operator != "\n" else command.before or operator
        self.found.extend(self.nested)
        self.nested = []
        self.assigned = []

    def _define(self, command: Command) -> None:
        words = [word.text for word in command.words]
        if words[:1] == ["for"] and words[2:3] == ["in"]:
            # Each turn of the loop has one of the values: taken together they are all of them.
            self.variables[words[1]] = None if command.unresolved else words[3:]
        elif not words or words[0] in _EXPORTERS:
            for name, values in self.assigned:
                self.variables[name] = None if command.unresolved else values

    def inside(self, command: Command, level: int = 0) -> Iterator[Command]:
        """The command that another one runs: `sudo x`, `xargs x`, `sh -c 'x'`, `find -exec x`."""
        name = command.words[0].text.rsplit("/", 1)[-1] if command.words else ""
        script = shell_script(command.words) if name in SHELLS else None
        if name == "eval":
            script = Word(
                " ".join(word.text for word in command.words[1:]), command.words[0].offset
            )
        if script is not None:
            inner = _Script(
                script.text,
                self.lookup,
                dict(self.variables),
                self.budget,
                depth=self.depth + 1,
                fixed=script.offset,
            )
            for found in inner.run():
                found.via = found.via or name
                yield found
            return
        words = wrapped(name, command.words)
        if words:
            inside = Command(words, command.before, [], list(command.unresolved), name)
            yield inside
            if level < _MAX_WRAPPERS:
                yield from self.inside(inside, level + 1)


def _closing_parenthesis(text: str, start: int) -> int:
    """The offset after the parenthesis that closes the one at `start`; quotes are respected."""
    depth, quote = 0, ""
    index = start
    while index < len(text):
        character = text[index]
        if character == "\\" and quote != "'":
            index += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
            if depth == 0:
                return index + 1
        index += 1
    return len(text)


def _split(pieces: Sequence[_Piece]) -> list[str]:
    """Field splitting: what is not quoted breaks at white space, as the shell does."""
    fields: list[str] = []
    current: str | None = None
    for piece in pieces:
        if piece.quoted:
            current = (current or "") + piece.text
            continue
        parts = re.split(r"[ \t\n]+", piece.text)
        for index, part in enumerate(parts):
            if index and current is not None:
                fields.append(current)
                current = None
            if part:
                current = (current or "") + part
    if current is not None:
        fields.append(current)
    return fields
