"""One Dockerfile as plain data: stages, instructions, what they expand to, and their commands."""

from __future__ import annotations

import re
from typing import Any

from auditor.collect.dockerfile.comments import accepts
from auditor.collect.dockerfile.expand import Expanded, Scope, expand, platform_args, resolve
from auditor.collect.dockerfile.parse import KNOWN, Instruction, Source
from auditor.collect.dockerfile.secrets import Secret, pairs_of, shown
from auditor.collect.dockerfile.shell import Command, commands, exec_commands
from auditor.collect.dockerfile.wrappers import SHELLS, Word
from auditor.collect.secrets import is_credential_name

_EXPANDED = frozenset(
    {"FROM", "USER", "WORKDIR", "COPY", "ADD", "EXPOSE", "VOLUME", "STOPSIGNAL", "LABEL", "ENV"}
)
"""The instructions whose words Docker expands; in RUN, CMD and ENTRYPOINT the shell does."""

_COMMANDS = frozenset({"RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"})
_SHEBANG = re.compile(r"#!\s*(\S+)(?:\s+(\S+))?")


def build_body(source: Source, secrets: list[list[Secret]]) -> dict[str, Any]:
    """Return the body of a `Dockerfile` resource; `source` holds no secret any more.

    - `escape`, `syntax`: the parser directives in force.
    - `accepts`: the comments that accept failures (see `comments.accepts`).
    - `stages`: `index`, `name`, `base` (as written), `base_expanded` (None when a build argument
      without a default decides it), `base_stage` (the index of the stage it is built on, or None),
      `platform`, `line`, `unresolved`, `instructions` (indices).
    - `instructions`: `index`, `path` (`stage[0].RUN[2]`), `stage` (None before the first FROM),
      `cmd`, `sub` (of ONBUILD), `json` (exec form), `line`, `end_line`, `text`, `value` (as
      written), `expanded` (None where the shell expands), `unresolved`, `flags` (name to values),
      `heredocs`, `secrets`, and where it applies `pairs` and `commands`.
    - `pairs` (ENV, ARG, LABEL): `name`, `value` (expanded; None when an ARG has none),
      `credential` (the name means one), `names` (variables its value uses), `unresolved`, `line`.
    - `commands` (RUN, CMD, ENTRYPOINT, HEALTHCHECK): `words`, `at` (line and column of each),
      `before`, `redirects`, `unresolved`, `via`; None when their shell is not a POSIX one.
    """
    return _Builder(source, secrets).build()


class _Builder:
    def __init__(self, source: Source, secrets: list[list[Secret]]) -> None:
        self.source = source
        self.secrets = secrets
        self.outer = Scope(args=dict(platform_args()))
        self.scope = self.outer
        self.scopes: list[Scope] = []
        self.shells: list[str] = []
        self.stages: list[dict[str, Any]] = []
        self.names: dict[str, int] = {}
        self.counts: dict[tuple[int | None, str], int] = {}

    def build(self) -> dict[str, Any]:
        instructions = [
            self._instruction(index, instruction)
            for index, instruction in enumerate(self.source.instructions)
        ]
        return {
            "escape": self.source.escape,
            "syntax": self.source.directives.get("syntax"),
            "accepts": accepts(self.source),
            "stages": self.stages,
            "instructions": instructions,
        }

    def _instruction(self, index: int, item: Instruction) -> dict[str, Any]:
        expanded = [self._expand(word) for word in item.value] if item.cmd in _EXPANDED else None
        flags = self._flags(item)
        if item.cmd == "FROM":
            self._begin_stage(item, expanded or [], flags)
        stage = len(self.stages) - 1 if self.stages else None
        name = item.cmd if item.cmd in KNOWN else "UNKNOWN"
        ordinal = self.counts.get((stage, name), 0)
        self.counts[(stage, name)] = ordinal + 1
        where = "" if stage is None else f"stage[{stage}]."
        facts: dict[str, Any] = {
            "index": index,
            "path": f"{where}{name}" if name == "FROM" else f"{where}{name}[{ordinal}]",
            "stage": stage,
            "cmd": name,
            "sub": item.sub if item.sub in KNOWN else None,
            "json": item.json,
            "line": item.line,
            "end_line": item.end_line,
            "text": shown(item.text.strip()),
            "value": [shown(word) for word in item.value],
            "expanded": None if expanded is None else [shown(word.text) for word in expanded],
            "unresolved": sorted({name for word in expanded or () for name in word.unresolved}),
            "flags": flags,
            "heredocs": [
                {
                    "name": heredoc.name,
                    "text": shown(heredoc.content),
                    "line": self.source.place(heredoc.offset)[0],
                }
                for heredoc in item.heredocs
            ],
            "secrets": [secret.facts(self.source) for secret in self.secrets[index]],
        }
        if stage is not None:
            self.stages[stage]["instructions"].append(index)
        if item.cmd in {"ENV", "ARG", "LABEL"}:
            facts["pairs"] = self._pairs(item)
        if item.cmd == "SHELL" and item.json and item.value and self.shells:
            self.shells[-1] = item.value[0]
        if item.cmd in _COMMANDS:
            found = self._commands(item)
            facts["commands"] = None if found is None else [self._command(one) for one in found]
        return facts

    def _expand(self, word: str) -> Expanded:
        return expand(word, self.scope if self.stages else self.outer, self.source.escape)

    def _flags(self, item: Instruction) -> dict[str, list[str]]:
        flags: dict[str, list[str]] = {}
        for flag in item.flags:
            name, _, value = flag.removeprefix("--").partition("=")
            scope = self.outer if item.cmd == "FROM" else self.scope
            text = expand(value, scope, self.source.escape).text
            flags.setdefault(shown(name), []).append(shown(text))
        return flags

    def _begin_stage(
        self, item: Instruction, _: list[Expanded], flags: dict[str, list[str]]
    ) -> None:
        base = expand(item.value[0], self.outer, self.source.escape) if item.value else None
        parent = self.names.get(base.text.lower()) if base else None
        if parent is not None:
            self.scope = self.scopes[parent].child()
            shell = self.shells[parent]
        else:
            self.scope = Scope(complete=base is not None and base.text == "scratch")
            shell = "/bin/sh"
        self.scopes.append(self.scope)
        self.shells.append(shell)
        named = len(item.value) == 3 and item.value[1].lower() == "as"
        name = item.value[2].lower() if named else None
        self.stages.append(
            {
                "index": len(self.stages),
                "name": shown(name) if name else None,
                "base": shown(item.value[0]) if item.value else "",
                "base_expanded": shown(base.text) if base and not base.unresolved else None,
                "base_stage": parent,
                "platform": next(iter(flags.get("platform", ())), None),
                "line": item.line,
                "unresolved": list(base.unresolved) if base else [],
                "instructions": [],
            }
        )
        if name:
            self.names.setdefault(name, len(self.stages) - 1)

    def _pairs(self, item: Instruction) -> list[dict[str, Any]]:
        """Read the pairs of an ENV, ARG or LABEL, and let them take effect after all of them."""
        found = []
        effects: dict[str, str | None] = {}
        position = 0
        for raw_name, raw in pairs_of(item):
            position = max(item.text.find(raw_name, position), position)
            name = self._expand(raw_name).text if item.cmd == "LABEL" else raw_name
            value = None if raw is None else self._expand(raw)
            if item.cmd == "ARG" and raw is None and self.stages:
                # Declared again inside a stage: the value from before the first FROM counts.
                effects[name] = self.outer.args.get(name)
            else:
                known = value is not None and not value.unresolved
                effects[name] = value.text if value is not None and known else None
            place = item.places[position] if item.places else 0
            found.append(
                {
                    "name": shown(name),
                    "value": None if value is None else shown(value.text),
                    "credential": is_credential_name(name),
                    "names": sorted(set(value.names)) if value else [],
                    "unresolved": sorted(set(value.unresolved)) if value else [],
                    "line": self.source.place(place)[0],
                }
            )
            position += len(raw_name)
        if item.cmd == "ARG":
            self.scope.args.update(effects)
        elif item.cmd == "ENV":
            self.scope.env.update(effects)
        return found

    def _lookup(self, name: str, modifier: str) -> tuple[str, tuple[str, ...]]:
        value = resolve(name, modifier, self.scope, self.source.escape)
        return value.text, value.unresolved

    def _commands(self, item: Instruction) -> list[tuple[Command, list[tuple[int, int]]]] | None:
        shell = self.shells[-1] if self.shells else "/bin/sh"
        if item.cmd == "HEALTHCHECK":
            if item.value[:1] != ("CMD",):
                return []
            item_value = item.value[1:]
        else:
            item_value = item.value
        if item.json:
            first = (item.line, 1)
            words = [Word(text, 0) for text in item_value]
            return [(one, [first] * len(one.words)) for one in exec_commands(words, self._lookup)]
        if shell.rsplit("/", 1)[-1] not in SHELLS:
            return None
        if item.is_script:
            return self._script(item)
        text = item_value[0] if item_value else ""
        start = max(0, item.text.rstrip().rfind(text)) if text else 0
        found = []
        for one in commands(text, self._lookup):
            found.append((one, self._at(item, one, start)))
            found.extend(self._fed(item, one))
        return found

    def _at(self, item: Instruction, one: Command, start: int) -> list[tuple[int, int]]:
        last = len(item.places) - 1
        return [
            self.source.place(item.places[min(start + word.offset, last)]) for word in one.words
        ]

    def _script(self, item: Instruction) -> list[tuple[Command, list[tuple[int, int]]]] | None:
        """The commands of a RUN that is one here-document; None when another program reads it."""
        heredoc = item.heredocs[0]
        shebang = _SHEBANG.match(heredoc.content)
        if shebang:
            program = shebang.group(1).rsplit("/", 1)[-1]
            if program == "env":
                program = (shebang.group(2) or "").rsplit("/", 1)[-1]
            if program not in SHELLS:
                return None
        return [
            (one, [self.source.place(heredoc.offset + word.offset) for word in one.words])
            for one in commands(heredoc.content, self._lookup)
        ]

    def _fed(self, item: Instruction, one: Command) -> list[tuple[Command, list[tuple[int, int]]]]:
        """The commands of a here-document that a shell reads as its script."""
        name = one.words[0].text.rsplit("/", 1)[-1] if one.words else ""
        if name not in SHELLS or any(not word.text.startswith("-") for word in one.words[1:]):
            return []
        targets = {target for operator, target, _ in one.redirects if operator in {"<<", "<<-"}}
        found = []
        for heredoc in item.heredocs:
            if heredoc.name in targets:
                for inner in commands(heredoc.content, self._lookup):
                    inner.via = inner.via or name
                    at = [self.source.place(heredoc.offset + word.offset) for word in inner.words]
                    found.append((inner, at))
        return found

    def _command(self, found: tuple[Command, list[tuple[int, int]]]) -> dict[str, Any]:
        one, at = found
        return {
            "words": [shown(word.text) for word in one.words],
            "at": [list(place) for place in at],
            "before": one.before,
            "redirects": [[operator, shown(target)] for operator, target, _ in one.redirects],
            "unresolved": sorted(set(one.unresolved)),
            "via": one.via,
        }
