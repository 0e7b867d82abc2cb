"""The reading of ValidatingAdmissionPolicies agrees with a real API server.

Each case is a policy with its binding, for one namespace. One pod of each rule of `violations`, and
a few more, are created there with a dry run, and the server must do what was read from the objects.
`undecided` is allowed, but only where a case says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any, NamedTuple

import pytest

from auditor.collect.objects import resource_from
from auditor.model import Resource, Target, View
from checks.kubernetes._admission import validating_policy
from checks.kubernetes._admission.answers import Outcome, together
from checks.kubernetes._admission.created import as_created
from checks.kubernetes._admission.violations import COMPLIANT, VIOLATIONS
from tests.support.controlplane import ApiError, ControlPlane

pytestmark = pytest.mark.live

GROUP = "admissionregistration.k8s.io/v1"
BASE = f"/apis/{GROUP}"


class Case(NamedTuple):
    """A policy: `spec` and `binding` are laid over defaults. `undecided` says that we cannot tell
    for some pod, and that this is right.
    """

    name: str
    spec: Mapping[str, Any]
    binding: Mapping[str, Any] = {}
    labels: Mapping[str, str] = {}
    undecided: bool = False


def one(name: str, *expressions: str, undecided: bool = False, **spec: Any) -> Case:
    """A case of a few validations."""
    validations = [{"expression": item} for item in expressions]
    return Case(name, {"validations": validations, **spec}, undecided=undecided)


ALL = "(object.spec.containers + object.spec.?initContainers.orValue([]))"
EXPRESSIONS: Sequence[str] = (
    # Optionals
    "object.spec.?hostNetwork.orValue(false) == false",
    "!object.spec.?hostPID.orValue(false) && !object.spec.?hostIPC.orValue(false)",
    f"{ALL}.all(c, c.?securityContext.?privileged.orValue(false) == false)",
    f"{ALL}.all(c, c.?securityContext.?allowPrivilegeEscalation.orValue(true) == false)",
    f"{ALL}.all(c, c.?securityContext.?capabilities.?drop.orValue([]).exists(d, d == 'ALL'))",
    f"{ALL}.all(c, c.?securityContext.?capabilities.?add.orValue([]).all(a, a in ['CHOWN']))",
    f"{ALL}.all(c, c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0))",
    "object.spec.?volumes.orValue([]).all(v, !has(v.hostPath))",
    "object.spec.?securityContext.?runAsNonRoot.orValue(false) == true",
    "object.spec.?securityContext.?windowsOptions.?hostProcess.orValue(false) != true",
    "object.spec.?nodeSelector[?'kubernetes.io/os'].orValue('linux') == 'linux'",
    "object.spec.containers[?1].hasValue() == false",
    "object.spec.?os.optMap(o, o.name == 'linux').orValue(true)",
    "object.spec.?os.or(optional.of({'name': 'linux'})).value().name == 'linux'",
    "optional.none().orValue(object.metadata.name) == 'auditor-probe'",
    "object.metadata.?annotations['x'].hasValue()",
    "[?object.spec.?hostNetwork, ?object.spec.?hostPID].all(x, x == false)",
    "{?'a': object.spec.?hostIPC}.size() == 0",
    "object.spec.?securityContext.?seccompProfile.?type.orValue('') in ['RuntimeDefault']",
    "object.metadata.?creationTimestamp.hasValue()",
    # has() chains, and absent fields
    "!has(object.spec.hostNetwork) || object.spec.hostNetwork == false",
    "has(object.spec.securityContext) && has(object.spec.securityContext.runAsUser) "
    "&& object.spec.securityContext.runAsUser != 0",
    "object.spec.containers.all(c, has(c.securityContext) && has(c.securityContext.privileged) "
    "&& c.securityContext.privileged == false)",
    "object.spec.containers.all(c, c.securityContext.privileged == false)",
    "object.spec.hostNetwork == false",
    "object.spec.hostNetwork != true || true",
    "object.spec.hostNetwork && false",
    "has(object.spec.nothing.at.all)",
    "has(object.metadata.labels) && object.metadata.labels.size() > 0",
    "object.spec.initContainers.all(c, c.image != '')",
    "has(object.spec.initContainers) ? object.spec.initContainers.size() < 1 : true",
    "object.spec.containers[0].securityContext.capabilities.drop.exists(d, d == 'ALL')",
    "object.spec.containers[5].name == 'x'",
    "object.spec.containers.exists(c, c.securityContext.runAsUser == 0)",
    "object.spec.containers.exists_one(c, c.securityContext.privileged)",
    # What the API sets
    "object.spec.securityContext != null",
    "object.spec.serviceAccountName == 'default' && object.spec.restartPolicy == 'Always'",
    "object.spec.containers.all(c, c.imagePullPolicy == 'IfNotPresent')",
    "object.spec.containers.all(c, c.terminationMessagePolicy == 'File')",
    "object.spec.tolerations.size() == 2 && object.spec.dnsPolicy == 'ClusterFirst'",
    "!has(object.spec.volumes) || object.spec.volumes.all(v, has(v.projected) || has(v.hostPath))",
    "object.spec.volumes.exists(v, v.name.startsWith('kube-api-access-'))",
    "object.spec.containers.all(c, !has(c.ports) || c.ports.all(p, p.protocol == 'TCP'))",
    "object.spec.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort)))",
    "object.spec.enableServiceLinks && object.spec.priority == 0",
    "object.status.phase == 'Pending' && object.status.qosClass == 'Burstable'",
    "object.spec.volumes.all(v, !has(v.hostPath) || v.hostPath.type == '')",
    # Types
    "object.spec.containers.all(c, c.securityContext.runAsUser > 0)",
    "object.spec.?securityContext.?runAsUser.orValue(0) > 1000.5",
    "object.spec.?securityContext.?runAsUser.orValue(0) == 65535.0",
    "object.spec.containers == []",
    "object.spec.hostNetwork == 'yes'",
    "object.metadata.name + dyn(1) == 'x'",
    "object.spec.containers + dyn('x') == []",
    "object.spec.containers.all(c, c)",
    "object.spec.hostNetwork ? true : false",
    "object.metadata.name || true",
    "!object.metadata.name",
    "object.metadata.labels['none'] == 'x'",
    "'none' in object.metadata.labels",
    "type(object.spec.containers) == list && type(object.metadata.labels) == map",
    "object.metadata == true",
    "object.metadata.name == true",
    "oldObject == null",
    "oldObject.spec.hostNetwork == true",
    "string(object.spec.terminationGracePeriodSeconds) == '30'",
    "int(object.metadata.name) == 1",
    "dyn(object.spec) == dyn(1)",
    "[dyn(1), dyn(2.0), dyn('x')].exists(x, x == object.spec.terminationGracePeriodSeconds / 15)",
    "has(oldObject.spec)",
    "object.metadata.?name.?x.hasValue()",
    "has(object.metadata.name.x)",
    "object.spec.containers.?x.hasValue()",
    "object.spec.terminationGracePeriodSeconds / 0 == 1",
    "duration('1h') > duration('1m') && timestamp('2020-01-01T00:00:00Z') < "
    "timestamp('2021-01-01T00:00:00Z')",
    # Text
    "object.spec.containers.all(c, c.image.startsWith('registry.k8s.io/'))",
    "object.spec.containers.all(c, c.image.matches('^[a-z.0-9/]+:[0-9.]+$'))",
    "object.spec.containers.all(c, !c.image.contains('@') && c.image.split(':').size() == 2)",
    "object.spec.containers.all(c, c.image.split('/')[0] in ['registry.k8s.io', 'docker.io'])",
    "object.metadata.name.upperAscii().lowerAscii().trim() == 'auditor-probe'",
    "object.metadata.name.substring(0, 7).replace('aud', 'x') == 'xitor'",
    "object.metadata.name.indexOf('-') == 7 && object.metadata.name.lastIndexOf('-') == 7",
    "object.metadata.name.charAt(0) == 'a' && 'a'.size() == 1",
    "'%s-%d'.format([object.metadata.name, 3]) == 'auditor-probe-3'",
    "object.spec.containers.map(c, c.name).join(',') == 'main'",
    "object.metadata.name.substring(50) == 'x'",
    # Lists
    f"{ALL}.map(c, c.?securityContext.?capabilities.?add.orValue([])).all(l, l.size() < 1)",
    f"sets.contains(['main', 'first'], {ALL}.map(c, c.name))",
    f"sets.intersects(['first'], {ALL}.map(c, c.name))",
    f"{ALL}.map(c, c.name).isSorted()",
    f"{ALL}.filter(c, c.name == 'first').size() == 0",
    "object.spec.containers.map(c, c.name == 'main', c.image).size() == 1",
    "[3, 1, 2].min() == 1 && [3, 1, 2].max() == 3 && [1, 2].sum() == 3",
    f"{ALL}.map(c, c.?securityContext.?runAsUser.orValue(1)).sum() > 1",
    "[].min() == 1",
    "[[1], [2, 3]].flatten() == [1, 2, 3] && [3, 1].sort() == [1, 3] && [1, 1].distinct() == [1]",
    "object.spec.containers.all(i, c, i == 0 && c.name == 'main')",
    "object.metadata.labels.exists(k, v, v == 'auditor-probe')",
    f"{ALL}.transformList(i, c, c.name).size() == 1",
    # Kubernetes' own
    "object.spec.containers.all(c, quantity(c.resources.limits['memory'])"
    ".isLessThan(quantity('1Gi')))",
    "object.spec.containers.all(c, quantity(c.resources.limits['cpu']) == quantity('0.05'))",
    "isQuantity('1Ki') && !isQuantity('1KiB') && quantity('1k').compareTo(quantity('1Ki')) == -1",
    "quantity('1Gi').asInteger() == 1073741824",
    "quantity('1').add(2).isGreaterThan(quantity('2'))",
    "quantity('500m').isInteger() == false && quantity('-1').isLessThan(quantity('0'))",
    "quantity('500m').asInteger() == 0",
    # The request and the namespace
    "request.operation == 'CREATE' && request.kind.kind == 'Pod' && request.resource.group == ''",
    "request.namespace == object.metadata.namespace && request.name == object.metadata.name",
    "has(request.subResource)",
    "has(request.userInfo.username) && request.requestKind.version == 'v1'",
    "namespaceObject.metadata.name == object.metadata.namespace",
    "namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == request.namespace",
    "namespaceObject.metadata.?labels.?team.orValue('none') == 'none'",
    "namespaceObject.status.phase == 'Active'",
    "!('system:nodes' in request.userInfo.groups)",
    "request.userInfo.username.startsWith('system:serviceaccount:nobody-has-this:') == false",
)

FAILING: Sequence[str] = (
    "object.spec.hostNetwork == false",
    "object.spec.hostNetwork && false",
    "object.spec.hostNetwork == false || object.metadata.name == 'auditor-probe'",
    "object.spec.containers.all(c, c.securityContext.privileged == false)",
    "object.spec.containers[5].name == 'x'",
    "object.metadata.name + dyn(1) == 'x'",
    "object.spec.terminationGracePeriodSeconds / 0 == 1",
    "has(request.subResource)",
)
"""Expressions that fail for some of the pods: these are asked with `failurePolicy: Ignore` too."""

UNDECIDED: Sequence[str] = (
    "isURL('https://x') && url('https://x').getHost() == 'x'",
    "object.metadata.name.find('[a-z]+') == 'auditor'",
    "isIP('1.2.3.4') && cidr('10.0.0.0/8').containsIP('10.1.1.1')",
    "authorizer.group('').resource('pods').namespace('default').check('create').allowed()",
    "[object.metadata.name].indexOf('auditor-probe') == 0",
    "request.options != null",
    "oldObject.?spec.hasValue()",
)


def v(*expressions: str) -> list[dict[str, str]]:
    return [{"expression": item} for item in expressions]


HOST = "object.spec.?hostNetwork.orValue(false) == false"
BROKEN = "object.spec.hostPID == false"
PODS = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE"],
    "resources": ["pods"],
}


def rules(*changes: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceRules": [{**PODS, **change} for change in changes or ({},)], **more}


def name_is(value: str) -> dict[str, Any]:
    return {"matchLabels": {"app.kubernetes.io/name": value}}


def needs(key: str, operator: str, *values: str) -> dict[str, Any]:
    found: dict[str, Any] = {"key": key, "operator": operator}
    if values:
        found["values"] = list(values)
    return {"matchExpressions": [found]}


MATCHING: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("wildcards", rules({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"]})),
    ("all resources", rules({"resources": ["*"]})),
    ("all and parts", rules({"resources": ["*/*"]})),
    ("pods and parts", rules({"resources": ["pods/*"]})),
    ("parts alone", rules({"resources": ["pods/exec"]})),
    ("other resource", rules({"resources": ["services"]})),
    ("other group", rules({"apiGroups": ["apps"]})),
    ("update", rules({"operations": ["UPDATE"]})),
    ("scope namespaced", rules({"scope": "Namespaced"})),
    ("scope cluster", rules({"scope": "Cluster"})),
    ("second rule", rules({"resources": ["services"]}, {})),
    ("resource name", rules({"resourceNames": ["auditor-probe"]})),
    ("other resource name", rules({"resourceNames": ["x"]})),
    ("excluded", rules(excludeResourceRules=[{**PODS}])),
    ("excluded by name", rules(excludeResourceRules=[{**PODS, "resourceNames": ["plain"]}])),
    ("exact", rules(matchPolicy="Exact")),
    ("object selector", rules(objectSelector=name_is("auditor-probe"))),
    ("other object", rules(objectSelector=name_is("x"))),
    ("object without", rules(objectSelector=needs("x", "DoesNotExist"))),
    ("object with", rules(objectSelector=needs("app.kubernetes.io/name", "Exists"))),
    ("namespace without", rules(namespaceSelector=needs("x", "NotIn", "y"))),
    ("namespace with", rules(namespaceSelector=needs("x", "In", "y"))),
    ("namespace selected", rules(namespaceSelector={"matchLabels": {"team": "a"}})),
)

CASES: Sequence[Case] = (
    *(one(f"e{place}", text) for place, text in enumerate(EXPRESSIONS)),
    *(one(f"ignore{place}", text, failurePolicy="Ignore") for place, text in enumerate(FAILING)),
    *(one(f"u{place}", text, undecided=True) for place, text in enumerate(UNDECIDED)),
    *(
        Case(f"match{place}", {"validations": v(HOST), "matchConstraints": found})
        for place, (_, found) in enumerate(MATCHING)
    ),
    *(
        Case(
            f"narrowed{place}",
            {"validations": v(HOST)},
            {"matchResources": found},
            {"team": "a"},
        )
        for place, (_, found) in enumerate(MATCHING)
    ),
    # What a binding does with a refusal
    Case("warn", {"validations": v(HOST)}, {"validationActions": ["Warn", "Audit"]}),
    Case("deny-and-audit", {"validations": v(HOST)}, {"validationActions": ["Deny", "Audit"]}),
    Case("two", {"validations": v(HOST, "object.spec.?hostPID.orValue(false) == false")}),
    # Match conditions
    *(
        Case(
            f"condition{place}-{failure.lower()}",
            {
                "validations": v(HOST),
                "failurePolicy": failure,
                "matchConditions": [
                    {"name": f"c{number}", "expression": item}
                    for number, item in enumerate(conditions)
                ],
            },
        )
        for failure in ("Fail", "Ignore")
        for place, conditions in enumerate(
            (
                ["true"],
                ["object.metadata.name == 'plain'"],
                ["true", "object.metadata.name != 'plain'"],
                ["has(object.spec.hostNetwork)", "request.operation == 'CREATE'"],
                [BROKEN],
                [BROKEN, "true"],
                [BROKEN, "false"],
                ["namespaceObject.metadata.name != 'x'"],
                ["namespaceObject == null"],
                ["object.spec.?hostNetwork.orValue(false) == true"],
                ["!request.userInfo.groups.exists(g, g == 'system:nodes')"],
            )
        )
    ),
    # Variables
    *(
        Case(
            f"variables{place}-{failure.lower()}",
            {
                "validations": v(*expressions),
                "failurePolicy": failure,
                "variables": [
                    {"name": "all", "expression": ALL},
                    {"name": "names", "expression": "variables.all.map(c, c.name)"},
                    {"name": "broken", "expression": "object.spec.hostPID"},
                    {"name": "two", "expression": "variables.broken == true"},
                    {"name": "limit", "expression": "1000"},
                    {"name": "root", "expression": "object.spec.?securityContext"},
                ],
            },
            undecided="root" in "".join(expressions),
        )
        for failure in ("Fail", "Ignore")
        for place, expressions in enumerate(
            (
                ["variables.all.all(c, c.?securityContext.?privileged.orValue(false) == false)"],
                ["variables.names.all(n, n == 'main')"],
                ["variables.broken == true"],
                ["variables.broken == true || true"],
                ["variables.two"],
                ["has(object.spec.hostPID) ? variables.two : true"],
                ["object.spec.?securityContext.?runAsUser.orValue(0) > variables.limit"],
                ["variables.root.?runAsNonRoot.orValue(false) == true"],
            )
        )
    ),
    # Audit annotations that fail, or are of the wrong type, refuse whatever the binding says
    *(
        Case(
            f"audit{place}-{failure.lower()}",
            {
                "validations": v("true"),
                "failurePolicy": failure,
                "auditAnnotations": [{"key": "k", "valueExpression": expression}],
            },
            {"validationActions": ["Audit"]},
        )
        for failure in ("Fail", "Ignore")
        for place, expression in enumerate(
            ("string(object.metadata.name)", "null", "string(object.spec.hostPID)")
        )
    ),
    # Parameters
    Case(
        "parameter-not-given",
        {
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "validations": v("params == null"),
        },
    ),
    Case(
        "parameter-missing",
        {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": v(HOST)},
        {"paramRef": {"name": "x", "parameterNotFoundAction": "Deny"}},
        undecided=True,
    ),
    Case(
        "parameter-missing-allowed",
        {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": v(HOST)},
        {"paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}},
        undecided=True,
    ),
    # Who asks
    Case(
        "by-who", {"validations": v("request.userInfo.username == 'nobody-has-this-name'")}, {}, {}
    ),
    Case(
        "by-account",
        {"validations": v("'system:serviceaccounts' in request.userInfo.groups")},
        undecided=True,
    ),
)


def pods() -> dict[str, dict[str, Any]]:
    """Every pod that is asked about, by its name in words."""
    plain = {"metadata": {"name": "plain"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    token = deepcopy(COMPLIANT)
    del token["spec"]["automountServiceAccountToken"]
    full = deepcopy(COMPLIANT)
    full["metadata"]["name"] = "full"
    full["spec"]["hostNetwork"] = True
    full["spec"]["hostPID"] = False
    full["spec"]["volumes"] = [
        {"name": "s", "secret": {"secretName": "x"}},
        {"name": "c", "configMap": {"name": "x"}},
        {"name": "e", "emptyDir": {}},
        {"name": "d", "downwardAPI": {"items": [_name_field()]}},
    ]
    full["spec"]["containers"][0].update(
        ports=[{"containerPort": 80}],
        livenessProbe={"httpGet": {"path": "/", "port": 80}},
        env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        image="registry.test:5000/a/b",
    )
    del full["spec"]["containers"][0]["imagePullPolicy"]
    del full["spec"]["containers"][0]["resources"]["requests"]
    found = {"compliant": COMPLIANT, "plain": plain, "with a token": token, "full": full}
    init = VIOLATIONS[0].variants["init container with privileged true"]
    found["init container"] = init
    for violation in VIOLATIONS:
        found[violation.id] = next(iter(violation.variants.values()))
    return found


def _name_field() -> dict[str, Any]:
    return {"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}


def documents(case: Case) -> list[dict[str, Any]]:
    """The namespace, the policy and the binding of a case."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": case.name}}
    resources = dict(case.binding.get("matchResources", {}))
    if "namespaceSelector" in resources:
        given = resources["namespaceSelector"]
        resources["namespaceSelector"] = {
            "matchLabels": {**given.get("matchLabels", {}), **selector["matchLabels"]},
            "matchExpressions": given.get("matchExpressions", []),
        }
    else:
        resources["namespaceSelector"] = selector
    binding = {
        "policyName": case.name,
        "validationActions": ["Deny"],
        **case.binding,
        "matchResources": resources,
    }
    spec = {"failurePolicy": "Fail", "matchConstraints": rules(), **case.spec}
    labels = {"case": case.name, **case.labels}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": case.name, "labels": labels},
        },
        _object("ValidatingAdmissionPolicy", case.name, spec),
        _object("ValidatingAdmissionPolicyBinding", case.name, binding),
    ]


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def refused(plane: ControlPlane, namespace: str, pod: Mapping[str, Any]) -> str:
    """Ask the server with a dry run: the policy's words when it refuses, else an empty text."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    try:
        plane.request("POST", path, {"apiVersion": "v1", "kind": "Pod", **pod})
    except ApiError as error:
        words = str(error)
        assert "ValidatingAdmissionPolicy" in words, words
        return words
    return ""


def listed(plane: ControlPlane, path: str, api_version: str, kind: str) -> list[Resource]:
    """Read a kind as the collector does."""
    items = plane.request("GET", path)["items"]
    given = {"apiVersion": api_version, "kind": kind}
    return [resource_from({**given, **item}, source="kubernetes", target="t") for item in items]


@pytest.fixture(scope="module")
def world(controlplane: ControlPlane) -> Any:
    """Every case in the cluster, enforced, and the view that is read from it."""
    plane = controlplane
    every = [document for case in CASES for document in documents(case)]
    sentinel = one("sentinel", "object.metadata.name != 'sentinel'")
    every += documents(sentinel)
    failed = plane.apply(every)
    assert failed == [], failed
    sent = {**COMPLIANT, "metadata": {"name": "sentinel"}}
    plane.wait_until("policies are enforced", lambda: refused(plane, "sentinel", sent))
    policies, bindings = "validatingadmissionpolicies", "validatingadmissionpolicybindings"
    resources = [
        *listed(plane, "/api/v1/namespaces", "v1", "Namespace"),
        *listed(plane, f"{BASE}/{policies}", GROUP, "ValidatingAdmissionPolicy"),
        *listed(plane, f"{BASE}/{bindings}", GROUP, "ValidatingAdmissionPolicyBinding"),
        *listed(plane, "/api/v1/serviceaccounts", "v1", "ServiceAccount"),
    ]
    view = View(Target("t", "kubernetes", "t"), resources, [], [], {}, {})
    yield plane, view
    for case in (*CASES, sentinel):
        plane.request("DELETE", f"{BASE}/{bindings}/{case.name}")
        plane.request("DELETE", f"{BASE}/{policies}/{case.name}")
        plane.request("DELETE", f"/api/v1/namespaces/{case.name}")


def test_reading_policies_agrees_with_the_api_server(world: Any) -> None:
    plane, view = world
    namespaces = {item.name: item for item in view.of_kind("Namespace")}
    counted: Counter[Outcome] = Counter()
    undecided: set[str] = set()
    questions = []
    for case in CASES:
        for words, pod in pods().items():
            answers = tuple(validating_policy.answers(pod, namespaces[case.name], view))
            read = together(answers)
            counted[read] += 1
            if read is Outcome.UNDECIDED:
                undecided.add(case.name)
            else:
                questions.append((case, words, pod, answers))
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda item: refused(plane, item[0].name, item[2]), questions))
    differing = [
        f"{case.name} {case.spec} {case.binding} of {words}: {answers}; the server: {words_of}"
        for (case, words, _, answers), words_of in zip(questions, said, strict=True)
        if bool(words_of) != (together(answers) is Outcome.REFUSED)
    ]
    print(f"\n{sum(counted.values())} questions: {dict(counted)}; {len(differing)} differ")
    assert differing == [], "\n".join(differing[:20])
    assert undecided == {case.name for case in CASES if case.undecided}
    assert counted[Outcome.REFUSED] > 500
    assert counted[Outcome.ADMITTED] > 500


def test_pods_have_what_the_server_gives_them(controlplane: ControlPlane) -> None:
    """What validation sees is computed right: defaults, the token's volume, tolerations."""
    plane = controlplane
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "created"}}
    assert plane.apply([namespace]) == []
    for words, pod in pods().items():
        path = "/api/v1/namespaces/created/pods?dryRun=All"
        made = plane.request("POST", path, {"apiVersion": "v1", "kind": "Pod", **pod})
        computed = as_created(pod, "created")
        for found in (made, computed):
            for key in ("uid", "creationTimestamp", "managedFields"):
                found["metadata"].pop(key, None)
            _without_random_name(found["spec"])
        assert computed == made, words


def _without_random_name(spec: dict[str, Any]) -> None:
    for volume in spec.get("volumes", ()):
        if "projected" in volume:
            volume["name"] = "token"
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        for mount in container.get("volumeMounts", ()):
            if mount["name"].startswith("kube-api-access-"):
                mount["name"] = "token"
