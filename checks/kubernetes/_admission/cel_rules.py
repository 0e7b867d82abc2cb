"""The CEL part of an admission policy: match conditions, variables, validations.

ValidatingAdmissionPolicies, Kyverno's policies with CEL and the match conditions of webhooks share
it. The order and the effect of errors are those of the API server
(`k8s.io/apiserver/pkg/admission/plugin/policy/validating/validator.go`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from auditor.model import Json
from checks.kubernetes._admission.answers import Outcome
from checks.kubernetes._admission.asked import Asked, User
from checks.kubernetes._admission.cel import CelError, Data, Expression, UnsupportedError
from checks.kubernetes._admission.matching import MalformedError, items, text

MAX_EXPRESSIONS = 500
"""Expressions of one policy."""

_QUOTED = 160
"""Characters of an expression or a message that evidence quotes."""

OBJECT = object()
"""Stands for the pod that is asked about among a policy's preset variables."""


class Said(NamedTuple):
    """What one part of a policy says: where it stands in the policy, and why."""

    outcome: Outcome
    where: str
    why: str


class Part(NamedTuple):
    """One expression of a policy, with its place in it; `message` is the policy's own words."""

    where: str
    source: str
    compiled: Expression | None
    problem: str
    message: str = ""


class Rules:
    """The expressions of a policy, compiled once. Raises `MalformedError`.

    `preset` holds variables that whoever runs the policy sets; `OBJECT` stands for the pod.
    """

    def __init__(
        self,
        spec: Mapping[str, Json],
        *,
        conditions: str = "matchConditions",
        validations: str = "validations",
        preset: Mapping[str, Json] | None = None,
    ) -> None:
        self.preset = dict(preset or {})
        self.fails = text(spec.get("failurePolicy"), "failurePolicy", "Fail") != "Ignore"
        self.conditions = _parts(spec, conditions, "expression")
        self.validations = _parts(spec, validations, "expression")
        self.audits = _parts(spec, "auditAnnotations", "valueExpression")
        self.variables: dict[str, Part] = {}
        for place, item in enumerate(items(spec.get("variables"), "variables")):
            name = text(item.get("name"), "a variable's name")
            if name in self.variables:
                raise MalformedError(f"two variables are called {name}")
            self.variables[name] = _part(item, f"variables[{place}]", "expression")
        self.parts = [
            *self.conditions,
            *self.validations,
            *self.audits,
            *self.variables.values(),
        ]
        if len(self.parts) > MAX_EXPRESSIONS:
            raise MalformedError(f"more than {MAX_EXPRESSIONS} expressions")
        self.by_namespace = self._uses(
            ("namespaceObject",),
            ("request", "namespace"),
            ("object", "metadata", "namespace"),
            *(
                ("variables", name, "metadata", "namespace")
                for name, value in self.preset.items()
                if value is OBJECT
            ),
        )
        self.by_user = self._uses(("request", "userInfo"))
        self.by_params = self._uses(("params",))
        self._known: dict[tuple[object, ...], tuple[Said, ...]] = {}

    def _uses(self, *paths: Sequence[str]) -> bool:
        return any(
            part.compiled is not None and part.compiled.uses(*path)
            for part in self.parts
            for path in paths
        )

    def judge(
        self, request: Asked, *, deny: bool = True, without_params: bool = False
    ) -> tuple[Said, ...]:
        """What the policy says of a pod: each refusal, or else what is undecided, or nothing.

        Without `deny` a failed validation has no effect, as with a binding that only warns.
        `without_params` says that the policy is known to get null for its parameters.
        """
        # Whoever runs as a service account of the namespace is called by it.
        namespace = request.namespace if self.by_namespace or self.by_user else None
        key = (request.key, namespace, deny, without_params)
        if key not in self._known:
            self._known[key] = self._judge(request, deny, without_params)
        return self._known[key]

    def _judge(self, request: Asked, deny: bool, without_params: bool) -> tuple[Said, ...]:
        users = request.users() if self.by_user else request.users()[:1]
        found: list[tuple[Said, ...]] = []
        for user in users:
            said = tuple(_Run(self, request, user, without_params).said(deny))
            if said not in found:
                found.append(said)
        if len(found) == 1:
            return found[0]
        outcomes = {item.outcome for said in found for item in said}
        if all(_outcome(said) is Outcome.REFUSED for said in found):
            return next(said for said in found if said)
        why = "what it says depends on who creates the pod" if outcomes else "undecided"
        where = next(item.where for said in found for item in said)
        return (Said(Outcome.UNDECIDED, where, f"{why}: {self.quoted()}"),)

    def applies(self, request: Asked) -> Said | None:
        """Whether the match conditions let a pod through to the policy: None when they do not.

        An admitted answer says that they do.
        """
        run = _Run(self, request, request.users()[0])
        return run.condition()

    def quoted(self) -> str:
        """The policy's validations in words, for a person to read."""
        return shortened("; ".join(part.source for part in self.validations or self.conditions))


class _Run:
    """One evaluation of a policy: the data, and the variables as far as they were asked for."""

    def __init__(
        self, rules: Rules, request: Asked, user: User, without_params: bool = False
    ) -> None:
        self.rules = rules
        self.without_params = without_params
        self.request = request
        self.values: dict[str, Json] = {
            name: request.object if value is OBJECT else value
            for name, value in rules.preset.items()
        }
        self.broken: dict[str, str] = {}
        self.base: dict[str, Json] = {
            "object": request.object,
            "oldObject": None,
            "request": request.request(user),
            "params": None,
        }

    def said(self, deny: bool) -> Iterator[Said]:
        applies = self.condition()
        if applies is None:
            return
        if applies.outcome is Outcome.REFUSED:
            if deny:
                yield applies
            return
        namespace = self.request.namespace_object() if self.rules.by_namespace else None
        self.data = self._data(namespace)
        found = [*(self._validations() if deny else ()), *self._audits()]
        refused = [item for item in found if item.outcome is Outcome.REFUSED]
        if found and applies.outcome is Outcome.UNDECIDED:
            yield applies
        elif refused:
            yield from refused
        else:
            yield from found

    def condition(self) -> Said | None:
        """What the match conditions say: None when the policy is passed over, ADMITTED when it
        counts, REFUSED where they fail and the failure policy refuses, or UNDECIDED.
        """
        # The API server gives match conditions no namespace.
        self.data = self._data(None)
        errors: list[Said] = []
        unclear: list[Said] = []
        for part in self.rules.conditions:
            try:
                if self._value(part, variables=False) is False:
                    return None
            except CelError as error:
                errors.append(_failure(part, error))
            except UnsupportedError as error:
                unclear.append(_unclear(part, error))
        if errors and not self.rules.fails:
            return None
        if unclear:
            return unclear[0]
        return errors[0] if errors else Said(Outcome.ADMITTED, "", "")

    def _data(self, namespace: Json) -> Data | UnsupportedError:
        try:
            return Data(
                {**self.base, "namespaceObject": namespace, "variables": {}},
                dict(self.request.measured),
            )
        except UnsupportedError as error:
            return error

    def _validations(self) -> Iterator[Said]:
        for part in self.rules.validations:
            try:
                # The API server takes anything that is not true for a refusal.
                if self._value(part) is not True:
                    why = f"{part.where} is not met: {part.message or shortened(part.source)}"
                    yield Said(Outcome.REFUSED, part.where, why)
            except CelError as error:
                if self.rules.fails:
                    yield _failure(part, error)
            except UnsupportedError as error:
                yield _unclear(part, error)

    def _audits(self) -> Iterator[Said]:
        """An audit annotation that cannot be made refuses as well, whatever the binding says."""
        for part in self.rules.audits:
            try:
                value = self._value(part)
            except CelError as error:
                if self.rules.fails:
                    yield _failure(part, error)
            except UnsupportedError as error:
                yield _unclear(part, error)
            else:
                if value is not None and not isinstance(value, str):
                    why = f"{part.where} gives neither a text nor null"
                    yield Said(Outcome.REFUSED, part.where, why)

    def _value(self, part: Part, *, variables: bool = True) -> Json:
        if part.compiled is None:
            raise UnsupportedError(part.problem)
        if isinstance(self.data, UnsupportedError):
            raise self.data
        self._readable(part.compiled)
        if not part.compiled.variables:
            return part.compiled.evaluate(self.data)
        if not variables:
            raise UnsupportedError("match conditions have no variables")
        for name in sorted(part.compiled.variables):
            self._resolve(name)
        broken = part.compiled.variables & set(self.broken)
        if broken and _tests_variables(part.compiled):
            raise UnsupportedError(f"it tests for variables, and {min(broken)} fails")
        # A variable that fails is left out: asking for it is an error then, as it should be.
        used = {name: self.values[name] for name in part.compiled.variables if name in self.values}
        return part.compiled.evaluate(self.data.with_variables(used))

    def _resolve(self, name: str) -> None:
        if name in self.values or name in self.broken:
            return
        part = self.rules.variables.get(name)
        if part is None:
            raise UnsupportedError(f"it uses a variable that the policy does not have: {name}")
        if part.compiled is not None and not self._earlier(name, part.compiled.variables):
            raise UnsupportedError(f"the variable {name} uses a later one")
        try:
            self.values[name] = self._value(part)
        except CelError as error:
            self.broken[name] = str(error)
        except UnsupportedError as error:
            raise UnsupportedError(f"{part.where} ({shortened(part.source)}): {error}") from error

    def _earlier(self, name: str, used: frozenset[str]) -> bool:
        order = list(self.rules.variables)
        return used <= {*order[: order.index(name)], *self.rules.preset}

    def _readable(self, compiled: Expression) -> None:
        """Refuse what the snapshot does not hold, or not as it was."""
        if compiled.uses("request", "options"):
            raise UnsupportedError("it looks at the options of the request")
        if compiled.uses("params") and not self.without_params:
            raise UnsupportedError("it looks at a parameter object, which is not read")
        for field in ("annotations", "labels"):
            if compiled.uses("namespaceObject", "metadata", field):
                found = self.request.namespace.metadata.get(field)
                if isinstance(found, dict) and any("«" in str(value) for value in found.values()):
                    raise UnsupportedError(f"{field} of the namespace were not kept whole")


def shortened(source: str) -> str:
    """A text as evidence quotes it: one line, not too long."""
    line = " ".join(source.split())
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…"


def _outcome(said: Sequence[Said]) -> Outcome:
    return said[0].outcome if said else Outcome.ADMITTED


def _failure(part: Part, error: CelError) -> Said:
    why = f"{part.where} fails ({shortened(str(error))}), and failurePolicy is Fail"
    return Said(Outcome.REFUSED, part.where, why)


def _unclear(part: Part, error: UnsupportedError) -> Said:
    why = f"{part.where} cannot be computed ({error}): {shortened(part.source)}"
    return Said(Outcome.UNDECIDED, part.where, why)


def _tests_variables(compiled: Expression) -> bool:
    return any(
        (node.kind == "has" or node.name == "_?._")
        and node.children
        and node.children[0] == ("ident", "variables", (), ())
        for node in compiled.tree.walk()
    )


def _parts(spec: Mapping[str, Json], key: str, field: str) -> list[Part]:
    return [
        _part(item, f"{key}[{place}]", field)
        for place, item in enumerate(items(spec.get(key), key))
    ]


def _part(item: Mapping[str, Json], where: str, field: str) -> Part:
    source = text(item.get(field), f"{where}.{field}")
    message = shortened(str(item.get("message") or ""))
    try:
        return Part(where, source, Expression(source), "", message)
    except UnsupportedError as error:
        return Part(where, source, None, str(error), message)
