"""Service accounts: the `default` one, which nothing should use, and tokens that nobody needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from auditor.model import (
    Json,
    Resource,
    Severity,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    review,
    unknown,
)
from auditor.registry import check
from checks.kubernetes._accepted import accepted_workload
from checks.kubernetes._pods import mapping, objects, shown, some
from checks.kubernetes._rbac import shown_name
from checks.kubernetes._rbac_access import unread_bindings
from checks.kubernetes._rbac_index import (
    Grant,
    SubjectKey,
    natural_groups,
    rbac_index,
    shown_subject,
)
from checks.kubernetes._rbac_shipped import AUTHENTICATED
from checks.kubernetes._scopes import gap_of

_BINDINGS = ("rolebindings", "clusterrolebindings")
_AUTOMOUNT = "automountServiceAccountToken"


@check(
    id="k8s-default-service-account",
    title="Default service accounts have no token and no rights",
    severity="medium",
    applies_to="kubernetes/ServiceAccount",
    needs=_BINDINGS,
)
def default_service_account(account: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the service account `default` of every namespace: its token and its rights.

    Why: A pod that names no account runs as `default` and carries its token. Rights given to it
    reach every pod that forgot to say who it is, the intruder's first among them.

    Rule: Fails when `automountServiceAccountToken` is not false on the account, and when a binding
    names the account or a group of accounts that it is in (`system:serviceaccounts:NAMESPACE`,
    `system:serviceaccounts`) and gives more than Kubernetes itself does. The first is of low
    severity where nothing runs as the account and no binding gives it anything. System namespaces
    are judged too: Kubernetes makes the account in each namespace with the token on, and leaves it
    alone once it is off. Accounts of other names are not asked. Passes when the token is off and no
    binding gives it anything. Unknown when service accounts or bindings could not be listed and
    nothing that was read decides it. Pods that run as the account are judged by
    k8s-default-service-account-use.

    Fix: Switch the token off, and give each workload an account of its own:

        apiVersion: v1
        kind: ServiceAccount
        metadata:
          name: default
          namespace: ledger
        automountServiceAccountToken: false

    Source: CIS Kubernetes 5.1.5.
    """
    if account.name != "default":
        yield not_applicable("not a default service account")
        return
    key: SubjectKey = ("ServiceAccount", account.namespace, account.name)
    index = rbac_index(view)
    bound = dict.fromkeys(
        f"{shown_name(grant.binding)} to {grant.role.kind}/{grant.role.name}"
        for grant in index.direct(key)
    )
    for group in natural_groups(key):
        if group == AUTHENTICATED:
            continue
        for grant in index.direct(group):
            if not index.is_shipped_grant(key, grant):
                role_name = f"{grant.role.kind}/{grant.role.name}"
                as_group = f"as {shown_subject(group)}"
                bound[f"{shown_name(grant.binding)} to {role_name}, {as_group}"] = None
    for binding in (*index.unread(key), *index.dangling(key)):
        role = mapping(binding.body.get("roleRef"))
        bound[f"{shown_name(binding)} to {role.get('kind')}/{role.get('name')}"] = None
    mounted = account.body.get(_AUTOMOUNT)
    if mounted is False:
        yield passed(_AUTOMOUNT, "false", stands=True)
    else:
        idle = not bound and not any(map(_runs_as_default, view.workloads_in(account.namespace)))
        severity = Severity.LOW if idle else None
        yield failed(_AUTOMOUNT, shown(mounted), "false", severity=severity)
    if bound:
        yield failed("bindings", f"bound by {some(bound)}", "no binding names it or its groups")
    else:
        yield passed("bindings")


@check(
    id="k8s-default-service-account-use",
    title="No workload runs as the default service account",
    severity="medium",
    applies_to="kubernetes/workload",
    settings=("accepted_workloads", "system_namespaces"),
    excuse=accepted_workload,
)
def default_service_account_use(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the service account that every workload runs as.

    Why: What is granted to `default` later, for one of them, is granted to every pod that named no
    account, and in the audit log all of them are one.

    Rule: Fails when `serviceAccountName` is `default` or not set; at low severity when the pod
    mounts no token, which leaves the name alone. Passes when it names another account. Does not
    apply to static pods, which the kubelet runs from a file of the node and which have no
    account. Unknown when pods or workloads could not be listed.

    Fix: Give the workload an account of its own:

        spec:
          template:
            spec:
              serviceAccountName: ledger
              automountServiceAccountToken: false

    Source: CIS Kubernetes 5.1.5.
    """
    path = f"{workload.spec_path}.serviceAccountName"
    if _is_static(workload):
        yield not_applicable("a static pod: it has no service account")
        return
    named = workload.spec.get("serviceAccountName") or workload.spec.get("serviceAccount")
    if named not in (None, "default"):
        yield passed(path, str(named))
        return
    mount = _mount(workload, view)
    severity = Severity.LOW if mount.mounted is False else None
    yield failed(path, shown(named), "an account of its own", severity=severity)


@check(
    id="k8s-token-automount",
    title="Only pods that call the API mount a token",
    severity="low",
    applies_to="kubernetes/workload",
    needs=("serviceaccounts", "roles", "clusterroles", *_BINDINGS),
    settings=("accepted_workloads", "system_namespaces"),
    excuse=accepted_workload,
)
def token_automount(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at whether a pod mounts a token of its service account, and what the token may do.

    Why: A token in a pod is the first thing an intruder uses: it opens the API server, and all
    that the account is granted now or later. Most applications never call the API.

    Rule: Fails when a pod mounts a token although its account is granted nothing but the
    discovery that Kubernetes gives everybody: then nothing in the pod can need it. Gives a review
    when the account is granted something, with the grants as evidence: whether the application
    uses them is for its owner to say (`auditor can` lists them all). Grants through
    `system:serviceaccounts`, the namespace's group of accounts and `system:authenticated` count.
    Passes when no token is mounted. Of a live pod the volumes decide, for the API server has put
    the token there or not; of a template or a manifest `automountServiceAccountToken` of the pod
    decides, then that of the account, then the default, which is true; projected volumes with a
    `serviceAccountToken` count as well. A token for another audience than the API server's does
    not, for it opens something else. Static pods get none. Unknown when the account, its roles or
    bindings could not be read and that decides; manifests show no other bindings, so that there a
    failure is unknown too.

    Fix: Switch it off in the pod, or on the account for all pods that use it:

        spec:
          template:
            spec:
              automountServiceAccountToken: false

    Source: CIS Kubernetes 5.1.6.
    """
    mount = _mount(workload, view)
    path = f"{workload.spec_path}.{mount.field}"
    if mount.mounted is None:
        yield unknown(path, mount.why, "the account's own setting, or false in the pod")
        return
    if not mount.mounted:
        yield passed(path, mount.why, stands=True)
        return
    account = view.index(_Accounts).of(workload.namespace or "", _account(workload))
    observed = f"{mount.why}; {account.text}"
    if account.unread:
        yield unknown(path, observed, "roles to judge")
    elif account.granted:
        yield review(path, observed, "a token only where the application calls the API")
    elif (gap := gap_of(view, *_BINDINGS)) is not None:
        hidden = f"was not read: {gap.reason}: {gap.detail}"
        why = f"{mount.why}; whether its account is granted anything {hidden}"
        yield unknown(path, why, "all bindings, or no token")
    else:
        yield failed(path, observed, "no token")


class _Mount:
    """Whether a pod mounts a token for the API server; `mounted` None: not known."""

    __slots__ = ("field", "mounted", "why")

    def __init__(self, mounted: bool | None, why: str, field: str = _AUTOMOUNT) -> None:
        self.mounted = mounted
        self.why = why
        self.field = field


def _mount(workload: Resource, view: View) -> _Mount:
    if _is_static(workload):
        return _Mount(False, "a static pod: the API server gives it no token")
    spec = workload.spec
    own = spec.get(_AUTOMOUNT)
    volumes = _token_volumes(workload)
    injected = volumes & {_INJECTED}
    if workload.count and workload.source == "kubernetes":
        if volumes - injected:
            return _Mount(True, f"mounts the token volume {min(volumes - injected)}", "volumes")
        if injected or _legacy(workload):
            return _Mount(True, f"{_AUTOMOUNT} {shown(own)}: a token is mounted")
        return _Mount(False, f"{_AUTOMOUNT} {shown(own)}: no token is mounted")
    if volumes:
        return _Mount(True, f"mounts the token volume {min(volumes)}", "volumes")
    if own is not None:
        return _Mount(bool(own), f"{_AUTOMOUNT} {shown(own)}")
    return _by_account(workload, view)


def _by_account(workload: Resource, view: View) -> _Mount:
    """A template that does not say: its account does, and by default the token is mounted."""
    name = _account(workload)
    account = next(
        (
            item
            for item in view.in_namespace("ServiceAccount", workload.namespace)
            if item.name == name
        ),
        None,
    )
    if account is None:
        gap = gap_of(view, "serviceaccounts", name=name)
        if gap is not None:
            hidden = f"could not be read: {gap.reason}: {gap.detail}"
            return _Mount(None, f"{_AUTOMOUNT} not set, and the account {name} {hidden}")
        return _Mount(True, f"{_AUTOMOUNT} not set, and there is no account {name}")
    value = account.body.get(_AUTOMOUNT)
    why = f"{_AUTOMOUNT} not set, and {shown(value)} on the account {name}"
    return _Mount(value is not False, why)


_INJECTED = "kube-api-access"
"""The volume that the API server adds; its random suffix is taken off while collecting."""

_LEGACY_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_LEGACY_SECRET = re.compile(r".+-token-[a-z0-9]{5}")


def _token_volumes(workload: Resource) -> set[str]:
    """Projected volumes with a token for the API server that a container mounts."""
    found = {
        str(volume.get("name"))
        for volume in objects(workload.spec.get("volumes"))
        if any(map(_is_token, objects(mapping(volume.get("projected")).get("sources"))))
    }
    return found & {str(mount.get("name")) for mount in _mounts(workload)} if found else found


def _is_token(source: Mapping[str, Json]) -> bool:
    token = source.get("serviceAccountToken")
    if not isinstance(token, dict):
        return False
    audience = str(token.get("audience") or "")
    # The API server's own audience is its issuer, which is this or an address of a cloud's.
    return not audience or audience.startswith("https://kubernetes.default")


def _legacy(workload: Resource) -> bool:
    """A token from a Secret, as the API server mounted it before Kubernetes 1.22."""
    secrets = {
        str(volume.get("name"))
        for volume in objects(workload.spec.get("volumes"))
        if _LEGACY_SECRET.fullmatch(str(mapping(volume.get("secret")).get("secretName")))
    }
    return any(
        mount.get("name") in secrets and mount.get("mountPath") == _LEGACY_PATH
        for mount in (_mounts(workload) if secrets else ())
    )


def _mounts(workload: Resource) -> Iterator[Mapping[str, Json]]:
    for container in workload.containers():
        yield from objects(container.body.get("volumeMounts"))


def _account(workload: Resource) -> str:
    spec = workload.spec
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def _runs_as_default(workload: Resource) -> bool:
    return _account(workload) == "default" and not _is_static(workload)


def _is_static(workload: Resource) -> bool:
    """Whether a pod is the API server's mirror of one that a kubelet runs from a file."""
    return "kubernetes.io/config.mirror" in mapping(workload.metadata.get("annotations"))


_MOST = 3
"""Bindings of an account, and rules of a binding, that are shown."""


class _Granted:
    """What a service account is granted beyond discovery, in words."""

    __slots__ = ("granted", "text", "unread")

    def __init__(self, text: str, *, granted: bool, unread: bool) -> None:
        self.text = text
        self.granted = granted
        self.unread = unread


class _Accounts:
    """What each service account is granted, worked out once for all pods that run as it."""

    def __init__(self, view: View) -> None:
        self._index = rbac_index(view)
        self._known: dict[tuple[str, str], _Granted] = {}

    def of(self, namespace: str, name: str) -> _Granted:
        """What one account is granted."""
        found = self._known.get((namespace, name))
        if found is None:
            found = self._known[(namespace, name)] = self._look(("ServiceAccount", namespace, name))
        return found

    def _look(self, key: SubjectKey) -> _Granted:
        shown_key = shown_subject(key)
        grants = self._index.added(key)
        if grants:
            text = f"{shown_key} is granted {_summary(grants)}"
            return _Granted(text, granted=True, unread=False)
        hidden = [
            binding
            for member in (key, *natural_groups(key))
            for binding in unread_bindings(member, self._index)
        ]
        if hidden:
            names = some(map(shown_name, hidden))
            text = f"the role could not be read that {names} gives {shown_key}"
            return _Granted(text, granted=False, unread=True)
        text = f"{shown_key} is granted nothing beyond discovery"
        return _Granted(text, granted=False, unread=False)


def _summary(grants: Sequence[Grant]) -> str:
    """Grants in words, binding by binding, a few of each."""
    by_binding: dict[int, list[Grant]] = {}
    for grant in grants:
        by_binding.setdefault(id(grant.binding), []).append(grant)
    parts = []
    for listed in list(by_binding.values())[:_MOST]:
        rules = "; ".join(map(_short, listed[:_MOST]))
        rest = len(listed) - _MOST
        rules += f"; and {rest} more rules" if rest > 0 else ""
        role = listed[0].role
        parts.append(f"{rules} (by {shown_name(listed[0].binding)} to {role.kind}/{role.name})")
    rest = len(by_binding) - _MOST
    return ", ".join(parts) + (f" and by {rest} more bindings" if rest > 0 else "")


def _short(grant: Grant) -> str:
    """A rule as `get, list configmaps`."""
    what = some(sorted(grant.resources | grant.urls))
    named = f" named {some(sorted(grant.names))}" if grant.names else ""
    return f"{', '.join(sorted(grant.verbs))} {what}{named}"
