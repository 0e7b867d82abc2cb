"""ClusterPolicy and Policy of kyverno.io: their rules that validate, and exceptions to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from auditor.model import Json, Resource
from checks.kubernetes._admission.answers import Answer, Outcome
from checks.kubernetes._admission.asked import Asked
from checks.kubernetes._admission.cel_rules import Rules, shortened
from checks.kubernetes._admission.kyverno_conditions import Answer3, met
from checks.kubernetes._admission.kyverno_match import covers, speaks_of
from checks.kubernetes._admission.kyverno_pattern import Match, any_like, match_pattern
from checks.kubernetes._admission.kyverno_query import query, substituted
from checks.kubernetes._admission.matching import (
    GROUP,
    KIND,
    OPERATION,
    VERSION,
    MalformedError,
    items,
    obj,
    selected,
    text,
    whole,
    words,
)
from checks.kubernetes._admission.pod_security import LEVELS, broken

MAX_ELEMENTS = 1000
"""Elements of one `foreach`."""

_FOR_WHOM = frozenset({"name", "match", "exclude"})
_REQUEST = re.compile(
    r"request\.(operation|object\.spec|object\.metadata\.(labels|annotations|name))\b"
)

_OLDEST = 29
"""The Pod Security Standards that the oldest of the releases here has built in (Kyverno 1.12)."""


class Exceptions:
    """The PolicyExceptions of a view, and whether one lets a pod off a rule."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = list(resources)

    def to(self, policy: str, rule: str, request: Asked) -> str:
        """The name of an exception that may let a pod off a rule; an empty text if none may.

        Whether Kyverno heeds exceptions, and from which namespace, are flags that are not read.
        """
        for resource in self.resources:
            try:
                if self._names(resource, policy, rule) and self._takes_in(resource, request):
                    return resource.name
            except MalformedError:
                return resource.name
        return ""

    @staticmethod
    def _names(resource: Resource, policy: str, rule: str) -> bool:
        spec = obj(resource.body.get("spec"), "spec")
        by_rule = any(
            entry.get("policyName") == policy and any_like(rule, words(entry.get("ruleNames"), "r"))
            for entry in items(spec.get("exceptions"), "exceptions")
        )
        return by_rule or any(
            entry.get("name") == policy for entry in items(spec.get("policyRefs"), "policyRefs")
        )

    @staticmethod
    def _takes_in(resource: Resource, request: Asked) -> bool:
        spec = obj(resource.body.get("spec"), "spec")
        return "match" not in spec or covers(spec["match"], request) is not False


class _Said(NamedTuple):
    """What a rule says of a pod: met or not (None: undecided), and why."""

    met: Answer3
    why: str
    error: bool = False


class _Matching(NamedTuple):
    """A rule that may speak of a pod: for sure, or None where that depends on who asks."""

    rule: _Rule
    by: str
    speaks: Answer3 | MalformedError


class Policy:
    """One policy. `acts` is false where it has no rule that could refuse anything."""

    def __init__(self, resource: Resource, exceptions: Exceptions) -> None:
        self.by = f"Kyverno {resource.kind} {resource.name}"
        spec = resource.spec
        self.spec = spec
        namespaced = resource.kind == "Policy"
        self.name = f"{resource.namespace}/{resource.name}" if namespaced else resource.name
        self.exceptions = exceptions
        self.problem = ""
        self.rules: list[_Rule] = []
        self.known: dict[tuple[object, ...], list[_Matching]] = {}
        self.mixed: dict[Resource, bool] = {}
        try:
            if spec.get("admission") is not False:
                self.rules = [
                    _Rule(rule, spec)
                    for rule in items(spec.get("rules"), "rules")
                    if rule.get("validate") is not None
                ]
        except MalformedError as error:
            self.problem = str(error)
        self.acts = bool(self.rules or self.problem)

    def answers(self, request: Asked) -> Iterator[Answer]:
        """One answer for each rule that enforces and speaks of the pod."""
        if self.problem:
            raise MalformedError(self.problem)
        key = (request.identity, request.namespace)
        if key not in self.known:
            self.known[key] = self._matching(request)
        for rule, by, speaks in self.known[key]:
            if isinstance(speaks, MalformedError):
                yield Answer(Outcome.UNDECIDED, by, f"cannot be computed: {speaks}")
                continue
            try:
                yield self._answer(rule, by, speaks, request)
            except MalformedError as error:
                yield Answer(Outcome.UNDECIDED, by, f"cannot be computed: {error}")

    def _matching(self, request: Asked) -> list[_Matching]:
        """The rules that enforce in a namespace and may speak of such a pod."""
        enforcing = [rule for rule in self.rules if rule.enforces(request)]
        self.mixed[request.namespace] = len(enforcing) < len(self.rules)
        found = []
        for rule in enforcing:
            speaks: Answer3 | MalformedError
            try:
                speaks = speaks_of(rule.body, request)
            except MalformedError as error:
                speaks = error
            if speaks is not False:
                found.append(_Matching(rule, f"{self.by}, rule {rule.name}", speaks))
        return found

    def _answer(self, rule: _Rule, by: str, speaks: Answer3, request: Asked) -> Answer:
        said = rule.said(request)
        if said.met is True:
            return Answer(Outcome.ADMITTED, by, said.why or "lets it through")
        doubts = [
            "" if said.met is False else said.why,
            "" if speaks else "whom it is for depends on who creates the pod",
            # Releases differ in whose action counts where the rules of a policy have several.
            "other rules of the policy only audit" if self.mixed[request.namespace] else "",
            "a match condition of its webhook is not read" if self._conditions() else "",
            "applyRules is One" if self.spec.get("applyRules") == "One" else "",
            "Kyverno calls it an error, and failurePolicy is Ignore"
            if said.error and self.spec.get("failurePolicy") == "Ignore"
            else "",
        ]
        exception = self.exceptions.to(self.name, rule.name, request)
        if exception:
            doubts.append(f"the PolicyException {exception} may let it through")
        found = "; ".join(doubt for doubt in doubts if doubt)
        if found:
            why = f"{said.why}; but {found}" if said.met is False else found
            return Answer(Outcome.UNDECIDED, by, why)
        return Answer(Outcome.REFUSED, by, said.why)

    def _conditions(self) -> bool:
        return bool(
            obj(self.spec.get("webhookConfiguration"), "webhookConfiguration").get(
                "matchConditions"
            )
        )


class _Rule:
    """A rule that validates."""

    def __init__(self, body: Mapping[str, Json], spec: Mapping[str, Json]) -> None:
        self.body = body
        self.spec = spec
        self.name = text(body.get("name"), "a rule's name")
        self.validate = obj(body.get("validate"), "validate")
        self.cel: Rules | None = None
        self.problem = ""
        self.by_namespace = True
        self.known: dict[tuple[object, ...], _Said] = {}
        try:
            whole(body, "the rule")
            self.by_namespace = _looks_at_namespace(body)
            if self.validate.get("cel") is not None:
                cel = obj(self.validate["cel"], "cel")
                self.cel = Rules(
                    {**cel, "celPreconditions": body.get("celPreconditions")},
                    conditions="celPreconditions",
                    validations="expressions",
                )
        except MalformedError as error:
            self.problem = str(error)

    def enforces(self, request: Asked) -> bool:
        """Whether a pod that is not as the rule wants is refused, and not only reported."""
        spec = self.spec
        overrides = self.validate.get("failureActionOverrides")
        if overrides is None:
            overrides = spec.get("validationFailureActionOverrides")
        for entry in items(overrides, "failureActionOverrides"):
            namespaces = words(entry.get("namespaces"), "namespaces")
            selector = entry.get("namespaceSelector")
            named = any_like(request.namespace.name, namespaces) if namespaces else True
            chosen = selector is None or selected(selector, request.namespace_labels)
            if named and chosen and (namespaces or selector is not None):
                return _is_enforce(entry.get("action"))
        action = self.validate.get("failureAction")
        return _is_enforce(spec.get("validationFailureAction") if action is None else action)

    def said(self, request: Asked) -> _Said:
        """What the rule says of a pod that it speaks of."""
        key = (request.key, request.namespace if self.by_namespace else None)
        if key not in self.known:
            self.known[key] = self._said(request)
        return self.known[key]

    def _said(self, request: Asked) -> _Said:
        context = {
            "request": {
                "operation": OPERATION,
                "namespace": request.namespace.name,
                "name": request.name,
                "kind": {"group": GROUP, "version": VERSION, "kind": KIND},
                "object": request.object,
            }
        }
        if self.problem:
            return _Said(None, self.problem)
        if self.body.get("context"):
            return _Said(None, "it looks at other objects (context)")
        ready = met(self.body.get("preconditions"), context)
        if ready is False:
            return _Said(True, "its preconditions are not met")
        said = self._validated(self.validate, context, request.object, request)
        if ready is None and said.met is not True:
            return _Said(None, "its preconditions cannot be computed")
        return said

    def _validated(
        self,
        how: Mapping[str, Json],
        context: Mapping[str, Json],
        target: Json,
        request: Asked,
    ) -> _Said:
        """One way to validate, in the order in which Kyverno looks for them."""
        message = shortened(str(self.validate.get("message") or ""))
        if how.get("deny") is not None:
            denied = met(obj(how["deny"], "deny").get("conditions"), context)
            why = f"denies it: {message}" if denied else "its deny conditions cannot be computed"
            return _Said(None if denied is None else not denied, why if denied is not False else "")
        if how.get("pattern") is not None or how.get("anyPattern") is not None:
            return self._patterns(how, context, target, message)
        if how.get("foreach") is not None:
            return self._each(how["foreach"], context, request)
        if how.get("podSecurity") is not None:
            return _pod_security(obj(how["podSecurity"], "podSecurity"), request)
        if self.cel is not None:
            return _judged(self.cel, request)
        return _Said(None, f"it validates by {', '.join(sorted(how))}, which is not computed")

    def _patterns(
        self, how: Mapping[str, Json], context: Mapping[str, Json], target: Json, message: str
    ) -> _Said:
        if how.get("pattern") is not None:
            found, why = match_pattern(target, substituted(how["pattern"], context))
            if found in (Match.MET, Match.SKIPPED):
                return _Said(True, "")
            return _Said(False, f"{why} ({message})" if message else why, found is Match.BROKEN)
        patterns = substituted(how["anyPattern"], context)
        if not isinstance(patterns, list):
            raise MalformedError("anyPattern is not a list")
        results = [match_pattern(target, pattern) for pattern in patterns]
        failed = [why for found, why in results if found in (Match.FAILED, Match.BROKEN)]
        if any(found is Match.MET for found, _ in results) or not failed:
            return _Said(True, "")
        why = "; ".join(failed[:3])
        return _Said(False, f"{why} ({message})" if message else why)

    def _each(self, listed: Json, context: Mapping[str, Json], request: Asked) -> _Said:
        unclear = ""
        for entry in items(listed, "foreach"):
            if any(entry.get(key) for key in ("context", "foreach")) or "elementScope" in entry:
                unclear = unclear or "its foreach looks further than is computed"
                continue
            elements = query(text(entry.get("list"), "list"), context)
            if elements is None:
                continue
            if not isinstance(elements, list) or len(elements) > MAX_ELEMENTS:
                raise MalformedError("foreach does not give a short list")
            for place, element in enumerate(elements):
                if element is None:
                    continue
                here = {**context, "element": element, "elementIndex": place}
                ready = met(entry.get("preconditions"), here)
                if ready is False:
                    continue
                if not isinstance(element, dict) and entry.get("deny") is None:
                    raise MalformedError("a pattern for an element that is no object")
                said = self._validated(entry, here, element, request)
                if said.met is False and ready and not said.error and not unclear:
                    return said
                if said.met is not True:
                    unclear = unclear or said.why or "its foreach cannot be computed"
        return _Said(None, unclear) if unclear else _Said(True, "")


def _looks_at_namespace(body: Mapping[str, Json]) -> bool:
    """Whether what a rule says may differ from namespace to namespace, whom it is for aside.

    Erring to yes costs time alone.
    """
    words_of = str({key: item for key, item in body.items() if key not in _FOR_WHOM})
    return (
        "namespace" in words_of.lower()
        or "@" in words_of
        or bool(_REQUEST.sub("", words_of).count("request"))
    )


def _is_enforce(action: Json) -> bool:
    found = text(action, "failureAction", "Audit").lower()
    if found not in ("enforce", "audit"):
        raise MalformedError(f"the failure action {action}")
    return found == "enforce"


def _judged(rules: Rules, request: Asked) -> _Said:
    said = rules.judge(request)
    if not said:
        return _Said(True, "")
    return _Said(False if said[0].outcome is Outcome.REFUSED else None, said[0].why)


def _pod_security(wanted: Mapping[str, Json], request: Asked) -> _Said:
    """The Pod Security Standards that are built into Kyverno, at a level and a version."""
    level = text(wanted.get("level"), "level")
    version = text(wanted.get("version"), "version", "latest") or "latest"
    if level not in LEVELS:
        raise MalformedError(f"the level {level}")
    minor = None if version == "latest" else _minor(version)
    by_newest = broken(request.object, level, minor)
    oldest = _OLDEST if minor is None else min(minor, _OLDEST)
    by_oldest = broken(request.object, level, oldest)
    if not by_newest and not by_oldest:
        return _Said(True, "")
    why = f"{level}, {version}: {(by_newest or by_oldest)[0]}"
    if wanted.get("exclude"):
        return _Said(None, f"{why}; some controls or images are excluded")
    if bool(by_newest) != bool(by_oldest):
        return _Said(None, f"{why}; that depends on the standards that Kyverno has built in")
    return _Said(False, why)


def _minor(version: str) -> int:
    number = version.removeprefix("v1.")
    if not version.startswith("v1.") or not number.isascii() or not number.isdigit():
        raise MalformedError(f"the version {version}")
    return int(number)
