"""Gatekeeper's constraints: what they, their templates and its configuration say of a pod.

A template is code. Its CEL form (`K8sNativeValidation`) is evaluated. Its Rego is not: what it does
is known only where the template says that it is the one of Gatekeeper's library (see
`gatekeeper_library`), by title and version; the evidence has its fingerprint. A template with both
forms runs one of them, by a flag of Gatekeeper that cannot be read, so both must say the same:
those of the library differ here and there. All else is left to a person.

Sources: open-policy-agent/gatekeeper 3.20, `pkg/mutation/match`, `pkg/webhook` and `pkg/drivers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from auditor.model import Json, Resource, View
from checks.kubernetes._admission.answers import Answer, Outcome, Pod
from checks.kubernetes._admission.asked import Asked, asked
from checks.kubernetes._admission.cel import UnsupportedError
from checks.kubernetes._admission.cel_rules import OBJECT, Rules
from checks.kubernetes._admission.gatekeeper_library import LIBRARY, Rule
from checks.kubernetes._admission.matching import (
    GROUP,
    KIND,
    MalformedError,
    items,
    obj,
    selected,
    text,
    whole,
    words,
)
from checks.kubernetes._admission.webhooks import GATEKEEPER, gatekeeper_is_asked
from checks.kubernetes._pods import mapping, objects

Parameters = Mapping[str, Json]

CONSTRAINTS = "constraints.gatekeeper.sh"
_ENGINE = "K8sNativeValidation"
_WEBHOOK = "validation.gatekeeper.sh"
_TITLE = "metadata.gatekeeper.sh/title"
_VERSION = "metadata.gatekeeper.sh/version"


def answers(pod: Pod, namespace: Resource, view: View) -> Iterator[Answer]:
    """One answer for each constraint that denies and matches the pod, while Gatekeeper is asked."""
    found = view.index(_Constraints)
    if not found.denying:
        return
    hook = gatekeeper_is_asked(pod, namespace, view)
    if hook is None:
        why = "has constraints, but no webhook of it is asked about pods here"
        yield Answer(Outcome.ADMITTED, GATEKEEPER, why)
        return
    try:
        request = asked(pod, namespace, view)
        if found.excluded(namespace.name):
            return
    except (MalformedError, UnsupportedError) as error:
        for constraint in found.denying:
            yield Answer(Outcome.UNDECIDED, constraint.by, f"cannot be read: {error}")
        return
    for constraint in found.denying:
        for answer in constraint.answers(request):
            if answer.outcome is Outcome.REFUSED and hook.outcome is not Outcome.ADMITTED:
                yield Answer(Outcome.UNDECIDED, answer.by, f"{answer.why}; but {hook.why}")
            else:
                yield answer


class _Constraints:
    """The constraints of the view that deny, with their templates."""

    def __init__(self, view: View) -> None:
        templates = {
            str(_path(item.body, "spec", "crd", "spec", "names", "kind")): item
            for item in view.of_kind("ConstraintTemplate")
        }
        self.denying = [
            constraint
            for item in view.of_group(CONSTRAINTS)
            if (constraint := _Constraint(item, templates.get(item.kind))).denies
        ]
        self.configs = [
            item for item in view.of_group("config.gatekeeper.sh") if item.kind == "Config"
        ]

    def excluded(self, namespace: str) -> bool:
        """Whether Gatekeeper's own configuration takes a namespace out of its webhook."""
        return any(
            {"*", "webhook"} & set(words(entry.get("processes"), "processes"))
            and _named(namespace, words(entry.get("excludedNamespaces"), "excludedNamespaces"))
            for config in self.configs
            for entry in items(obj(config.body.get("spec"), "spec").get("match"), "match")
        )


class _Constraint:
    def __init__(self, resource: Resource, template: Resource | None) -> None:
        self.by = f"Gatekeeper constraint {resource.kind} {resource.name}"
        self.problem = ""
        self.denies = True
        self.known: dict[tuple[object, ...], bool] = {}
        try:
            spec = obj(resource.body.get("spec"), "spec")
            self.denies = _denies(spec)
            self.match = obj(spec.get("match"), "match")
            self.parameters = obj(spec.get("parameters"), "parameters")
            whole(self.parameters, "parameters")
            self.code = _Code(resource.kind, template, self.parameters)
        except MalformedError as error:
            self.problem = str(error)

    def answers(self, request: Asked) -> Iterator[Answer]:
        try:
            if self.problem:
                raise MalformedError(self.problem)
            if not self._matches(request):
                return
            said = self.code.said(request)
        except (MalformedError, UnsupportedError) as error:
            yield Answer(Outcome.UNDECIDED, self.by, f"cannot be read: {error}")
            return
        for outcome, why in said:
            yield Answer(outcome, self.by, why)
        if not said:
            yield Answer(Outcome.ADMITTED, self.by, "lets it through")

    def _matches(self, request: Asked) -> bool:
        key = (request.identity, request.namespace)
        if key not in self.known:
            self.known[key] = _matches(self.match, request)
        return self.known[key]


def _denies(spec: Mapping[str, Json]) -> bool:
    action = text(spec.get("enforcementAction"), "enforcementAction", "deny") or "deny"
    if action != "scoped":
        return action == "deny"
    return any(
        entry.get("action") == "deny"
        and {"*", _WEBHOOK}
        & {
            text(point.get("name"), "enforcementPoints")
            for point in items(entry.get("enforcementPoints"), "enforcementPoints")
        }
        for entry in items(spec.get("scopedEnforcementActions"), "scopedEnforcementActions")
    )


def _matches(match: Mapping[str, Json], request: Asked) -> bool:
    """Whether a constraint's `match` takes in the pod: every criterion that it has must."""
    kinds = items(match.get("kinds"), "kinds")
    if kinds and not any(
        {"*", GROUP} & set(words(entry.get("apiGroups"), "apiGroups") or ("*",))
        and {"*", KIND} & set(words(entry.get("kinds"), "kinds") or ("*",))
        for entry in kinds
    ):
        return False
    namespaces = words(match.get("namespaces"), "namespaces")
    name = text(match.get("name"), "name")
    return (
        (not namespaces or _named(request.namespace.name, namespaces))
        and not _named(
            request.namespace.name, words(match.get("excludedNamespaces"), "excludedNamespaces")
        )
        and match.get("scope") in (None, "", "*", "Namespaced")
        and match.get("source") in (None, "", "All", "Original")
        and (not name or _named(request.name, [name]))
        and selected(match.get("labelSelector"), request.labels, "labelSelector")
        and selected(match.get("namespaceSelector"), request.namespace_labels, "namespaceSelector")
    )


def _named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is in a list, in which `*` at an end stands for anything."""
    return any(_is_like(name, pattern) for pattern in patterns)


def _is_like(name: str, pattern: str) -> bool:
    literal = pattern.strip("*")
    if "*" in literal or set(literal) & set("[]?"):
        raise MalformedError(f"the name {pattern}")
    return fnmatchcase(name, pattern)


class _Code:
    """What a template does with a pod, by each form of its code."""

    def __init__(self, kind: str, template: Resource | None, parameters: Parameters) -> None:
        self.parameters = parameters
        self.rules: Rules | None = None
        self.rule: Rule | None = None
        self.known: dict[object, str] = {}
        self.problem = ""
        self.origin = ""
        if template is None:
            self.problem = f"no template of the kind {kind} was read"
            return
        targets = objects(_path(template.body, "spec", "targets"))
        codes = [code for target in targets for code in objects(target.get("code"))]
        native = [obj(c.get("source"), "source") for c in codes if c.get("engine") == _ENGINE]
        rego = [target["rego"] for target in targets if target.get("rego")]
        sources = [mapping(code.get("source")) for code in codes]
        rego += [source["rego"] for source in sources if source.get("rego")]
        if native:
            whole(native[0], "the CEL of its template")
            preset = {"params": dict(parameters) or None, "anyObject": OBJECT}
            self.rules = Rules(native[0], preset=preset)
            self.origin = "by the CEL of its template"
        if rego:
            self._read(kind, template, _fingerprint(rego[0]))
        elif not native:
            self.problem = "its template has no code that is known here"

    def _read(self, kind: str, template: Resource, fingerprint: str) -> None:
        """Recognise the library's Rego."""
        known = LIBRARY.get(kind)
        annotations = mapping(template.metadata.get("annotations"))
        version = annotations.get(_VERSION)
        if known is None:
            self.problem = f"its template is Rego, which is not evaluated (code {fingerprint})"
        elif annotations.get(_TITLE) != known.title or not version:
            self.problem = (
                "its template has the name of one of Gatekeeper's library and does not say that"
                f" it is that one (code {fingerprint})"
            )
        else:
            self.rule = known.rule
            self.origin = (
                f"its template says that it is version {version} of the one of Gatekeeper's"
                f" library, and is taken at its word; code {fingerprint}"
            )

    def said(self, request: Asked) -> Sequence[tuple[Outcome, str]]:
        """The refusals, or what is undecided; nothing where the pod is let through."""
        if self.problem:
            return [(Outcome.UNDECIDED, self.problem)]
        found: list[Sequence[tuple[Outcome, str]]] = []
        if self.rules is not None:
            judged = self.rules.judge(request)
            found.append([(said.outcome, f"{said.why} ({self.origin})") for said in judged])
        if self.rule is not None:
            if request.key not in self.known:
                self.known[request.key] = self.rule(request.object, self.parameters)
            why = self.known[request.key]
            found.append([(Outcome.REFUSED, f"{why} ({self.origin})")] if why else [])
        outcomes = {said[0][0] if said else Outcome.ADMITTED for said in found}
        if len(outcomes) == 1:
            return found[-1]
        words = "; ".join(why for said in found for _, why in said)
        return [(Outcome.UNDECIDED, f"the two forms of its template's code differ: {words}")]


def _fingerprint(rego: Json) -> str:
    """What the collector keeps of Rego: a fingerprint of the source and its libraries."""
    return str(mapping(rego).get("fingerprint") or "without a fingerprint")


def _path(value: Json, *fields: str) -> Json:
    for field in fields:
        value = mapping(value).get(field)
    return value
