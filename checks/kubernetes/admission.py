"""Whether the cluster would refuse a privileged pod: the admission side of pod security."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from auditor.model import (
    Json,
    Resource,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    review,
)
from auditor.registry import check
from checks.kubernetes._pods import mapping, objects, some
from checks.kubernetes._scopes import is_system, namespace_labels, selects

ENFORCE = "pod-security.kubernetes.io/enforce"
_LEVELS = ("baseline", "restricted")


@check(
    id="k8s-privileged-admission",
    title="Every namespace refuses privileged pods",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=(
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ),
    settings=("system_namespaces",),
)
def privileged_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a privileged pod in each namespace that is not the platform's.

    Why: That no pod is privileged today says nothing about tomorrow: whoever may create pods in
    a namespace without admission control may create a privileged one, and owns the node.

    Rule: Passes when the label `pod-security.kubernetes.io/enforce` is baseline or restricted.
    Gives a review when it is not, but a ValidatingAdmissionPolicy bound with Deny, or a
    validating webhook, is asked about pods of this namespace: what those refuse a person must
    judge. Fails when there is neither. A default in the API server's own configuration file
    cannot be read from outside; state the level on the namespace. Namespaces in `[rules]
    system_namespaces` are not asked. Unknown when admission policies or webhooks could not be
    listed and no label answers.

    Fix: Label the namespace; `warn` first shows what would be refused:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: restricted
            pod-security.kubernetes.io/enforce-version: latest

    Source: CIS Kubernetes 5.2.1 and 5.2.2; Pod Security Admission.
    """
    if is_system(namespace.name, view):
        yield not_applicable("a system namespace: the rule speaks of the others")
        return
    path = f"metadata.labels[{ENFORCE}]"
    labels = namespace_labels(namespace)
    level = labels.get(ENFORCE)
    if level in _LEVELS:
        version = labels.get(f"{ENFORCE}-version", "latest")
        yield passed(path, f"{level}, version {version}", stands=True)
        return
    observed = "not set" if level is None else level
    others = [*_policies(namespace, view), *_webhooks(namespace, view)]
    if others:
        yield review(
            path, f"{observed}; asked about pods: {some(others)}", "baseline or restricted"
        )
    else:
        detail = f"{observed}, and no admission policy or webhook is asked about pods here"
        yield failed(path, detail, "baseline or restricted", stands=False)


def _policies(namespace: Resource, view: View) -> Iterator[str]:
    """The ValidatingAdmissionPolicies that are bound with Deny and match pods of a namespace."""
    policies = {policy.name: policy for policy in view.of_kind("ValidatingAdmissionPolicy")}
    labels = namespace_labels(namespace)
    for binding in view.of_kind("ValidatingAdmissionPolicyBinding"):
        policy = policies.get(str(binding.spec.get("policyName")))
        if policy is None or "Deny" not in (binding.spec.get("validationActions") or ()):
            continue
        constraints = mapping(policy.spec.get("matchConstraints"))
        narrowed = mapping(binding.spec.get("matchResources"))
        rules = objects(constraints.get("resourceRules"))
        also = objects(narrowed.get("resourceRules"))
        if (
            _matches_pods(rules)
            and (not also or _matches_pods(also))
            and selects(constraints.get("namespaceSelector"), labels)
            and selects(narrowed.get("namespaceSelector"), labels)
        ):
            yield f"ValidatingAdmissionPolicy {policy.name} (bound by {binding.name})"


def _webhooks(namespace: Resource, view: View) -> Iterator[str]:
    """The validating webhooks that are asked about pods of a namespace."""
    labels = namespace_labels(namespace)
    for configuration in view.of_kind("ValidatingWebhookConfiguration"):
        for hook in objects(configuration.body.get("webhooks")):
            if _matches_pods(objects(hook.get("rules"))) and selects(
                hook.get("namespaceSelector"), labels
            ):
                policy = hook.get("failurePolicy") or "Fail"
                yield f"webhook {hook.get('name')} (failurePolicy {policy})"


def _matches_pods(rules: Sequence[Mapping[str, Json]]) -> bool:
    """Whether any rule of an admission configuration covers the creation of pods."""
    return any(
        {"", "*"} & _words(rule, "apiGroups")
        and {"v1", "*"} & _words(rule, "apiVersions")
        and {"pods", "*", "*/*"} & _words(rule, "resources")
        and {"CREATE", "*"} & _words(rule, "operations")
        and rule.get("scope") != "Cluster"
        for rule in rules
    )


def _words(rule: Mapping[str, Json], key: str) -> set[str]:
    listed = rule.get(key)
    return {str(item) for item in listed} if isinstance(listed, list) else set()
