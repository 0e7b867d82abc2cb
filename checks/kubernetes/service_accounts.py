"""The `default` service account, which every namespace has and nothing should use."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, not_applicable, passed
from auditor.registry import check
from checks.kubernetes._pods import shown, some
from checks.kubernetes._rbac import account_bindings


@check(
    id="k8s-default-service-account",
    title="Default service accounts are not used",
    severity="medium",
    applies_to="kubernetes/ServiceAccount",
    needs=(
        "pods",
        "deployments",
        "replicasets",
        "statefulsets",
        "daemonsets",
        "jobs",
        "cronjobs",
        "replicationcontrollers",
        "rolebindings",
        "clusterrolebindings",
    ),
)
def default_service_account(account: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the service account `default` of every namespace: its token, rights and pods.

    Why: A pod that names no account runs as `default` and carries its token. Rights given to it
    reach every pod that forgot to say who it is, the intruder's first among them.

    Rule: Fails when `automountServiceAccountToken` is not false on the account, when a binding
    names the account, or when a pod or a workload's template runs as it. Passes when none of
    that is so. Accounts of other names are not asked. Unknown when service accounts, pods,
    workloads or bindings could not be listed and nothing that was read decides it.

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
    mounted = account.body.get("automountServiceAccountToken")
    path = "automountServiceAccountToken"
    if mounted is False:
        yield passed(path, "false")
    else:
        yield failed(path, shown(mounted), "false")
    bindings = account_bindings(view).get((account.namespace or "", account.name), [])
    if bindings:
        yield failed("", f"bound by {some(bindings)}", "no binding names it")
    else:
        yield passed()
    users = [workload for workload in view.workloads_in(account.namespace) if _runs_as(workload)]
    if users:
        names = some(dict.fromkeys(f"{user.kind}/{user.name}" for user in users))
        pods = sum(user.count for user in users)
        yield failed("", f"{pods} pods run as it: {names}", "no pod runs as it")
    else:
        yield passed()


def _runs_as(workload: Resource) -> bool:
    spec = workload.spec
    return (spec.get("serviceAccountName") or spec.get("serviceAccount") or "default") == "default"
