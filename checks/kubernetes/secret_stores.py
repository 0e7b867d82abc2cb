"""Whether secrets come from a store outside the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from auditor.model import Json, Resource, Verdict, View, failed, passed, review, unknown
from auditor.registry import check
from checks.kubernetes._pods import mapping, objects, some
from checks.kubernetes._scopes import gap_of, namespace_labels, selects

_SCOPES = (
    "pods",
    "namespaces",
    "externalsecrets.external-secrets.io",
    "clusterexternalsecrets.external-secrets.io",
    "secretstores.external-secrets.io",
    "clustersecretstores.external-secrets.io",
    "secretproviderclasses.secrets-store.csi.x-k8s.io",
    "vaultstaticsecrets.secrets.hashicorp.com",
    "vaultdynamicsecrets.secrets.hashicorp.com",
    "sealedsecrets.bitnami.com",
    "mutatingwebhookconfigurations",
)
_CSI_DRIVERS = frozenset({"secrets-store.csi.k8s.io", "secrets-store-gke.csi.k8s.io"})
"""The Secrets Store CSI driver, and the one that the Secret Manager add-on of GKE brings."""

_AGENT_INJECT = "vault.hashicorp.com/agent-inject"
_EXPECTED = "a store outside the cluster from which workloads get their secrets"


class _Use(NamedTuple):
    """One use of a store: who uses it, of what, and why it does not count, if so.

    `broken` says why it cannot work at all, `limited` why it is not really outside.
    """

    user: str
    product: str
    broken: str = ""
    limited: str = ""

    def __str__(self) -> str:
        why = self.broken or self.limited
        return f"{self.product} by {self.user}" + (f": {why}" if why else "")


@check(
    id="k8s-external-secret-store",
    title="Secrets come from a store outside the cluster",
    severity="medium",
    applies_to="kubernetes/cluster",
    needs=_SCOPES,
)
def external_secret_store(cluster: Resource, view: View) -> Iterator[Verdict]:
    """Looks for what takes secrets from an external store, and whether anything uses it.

    Why: Secrets that people write into the cluster live in etcd, in backups of it and with
    everybody who applied them; nobody rotates them, and nobody can say who read them. A store of
    its own has access control, an audit log and expiry.

    Rule: Passes when a store is in use: an ExternalSecret whose SecretStore is there (External
    Secrets), a pod that mounts a SecretProviderClass which is there (Secrets Store CSI driver), a
    pod with the injected Vault agent, or a secret of the Vault Secrets Operator. One use is enough:
    how many Secrets have another origin is not known, for Secrets are not read. Most of these still
    copy the value into a Secret, so encryption of etcd stays necessary. Gives a review when all
    that is in use is Sealed Secrets (the sealed form may lie in git, but the controller writes
    plain Secrets, and its key is one of them) or External Secrets that read another cluster's
    Secrets or whose values a generator makes; and when nothing is in use, with what is installed:
    other products exist, and a person may know of one. Fails when every use of a store that was
    found is broken: the store or class that it names does not exist or is not for its namespace,
    the Vault agent was asked for and not injected, or the store is the provider `fake`, which holds
    the values in its own manifest. Unknown when pods or the objects of these products could not be
    listed and no use was found; in manifests likewise.

    Fix: Keep the values in a store, and let workloads refer to them:

        apiVersion: external-secrets.io/v1
        kind: ExternalSecret
        metadata:
          name: ledger-db
          namespace: ledger
        spec:
          secretStoreRef: {kind: ClusterSecretStore, name: vault}
          target: {name: ledger-db}
          data:
            - secretKey: password
              remoteRef: {key: ledger/db, property: password}

    Source: CIS Kubernetes 5.4.2; NIST SP 800-190, 4.1.4.
    """
    uses = [*_external_secrets(view), *_csi(view), *_vault_agent(view), *_operators(view)]
    working = [use for use in uses if not use.broken and not use.limited]
    limited = [use for use in uses if use.limited]
    broken = [use for use in uses if use.broken]
    gap = gap_of(view, *_SCOPES)
    if working:
        yield passed(observed=some(map(str, working)), stands=True)
    elif gap is not None:
        yield unknown("", f"could not read {gap.scope}: {gap.reason}: {gap.detail}", _EXPECTED)
    elif limited:
        yield review("", some(map(str, limited)), _EXPECTED)
    elif broken:
        yield failed("", f"no use of a store works: {some(map(str, broken))}", _EXPECTED)
    else:
        installed = [*_installed(view)]
        also = f"; installed: {some(installed)}" if installed else ""
        observed = f"no use of a known external store{also}"
        yield review("", observed, "a person to say where secrets come from")


_STORE_KINDS = ("SecretStore", "ClusterSecretStore")


def _external_secrets(view: View) -> Iterator[_Use]:
    """The secrets of the External Secrets Operator, by the stores that they name."""
    stores = {
        (store.kind, store.namespace, store.name): store
        for kind in _STORE_KINDS
        for store in view.of_kind(kind)
    }
    for secret in view.of_kind("ExternalSecret"):
        user = f"ExternalSecret {secret.namespace}/{secret.name}"
        yield _external(user, secret.namespace, secret.spec, stores, view)
    for secret in view.of_kind("ClusterExternalSecret"):
        spec = mapping(secret.spec.get("externalSecretSpec"))
        # In which namespaces it makes secrets is not worked out here: a store of that name in any
        # will do.
        yield _external(f"ClusterExternalSecret {secret.name}", None, spec, stores, view)


def _external(
    user: str,
    namespace: str | None,
    spec: Mapping[str, Json],
    stores: Mapping[tuple[str, str | None, str], Resource],
    view: View,
) -> _Use:
    """The best of the stores that one secret names: one that works is enough."""
    product = "External Secrets"
    uses = []
    for reference in _references(spec):
        kind, name = str(reference.get("kind") or "SecretStore"), str(reference.get("name"))
        if kind == "SecretStore" and namespace is None:
            store = next((s for key, s in stores.items() if key[::2] == (kind, name)), None)
        else:
            store = stores.get((kind, namespace if kind == "SecretStore" else None, name))
        if store is None:
            uses.append(_Use(user, product, broken=f"there is no {kind} {name}"))
            continue
        if namespace is not None and not _is_open_to(store, namespace, view):
            why = f"{kind} {name} is not for this namespace, by its conditions"
            uses.append(_Use(user, product, broken=why))
            continue
        provider = [*mapping(store.spec.get("provider"))]
        if "fake" in provider:
            why = f"{kind} {name} is the provider fake, which holds the values itself"
            uses.append(_Use(user, product, broken=why))
        elif "kubernetes" in provider:
            why = f"{kind} {name} reads Secrets of a Kubernetes cluster"
            uses.append(_Use(user, product, limited=why))
        else:
            uses.append(_Use(user, product))
    uses.extend(_Use(user, product, limited=why) for why in _generated(spec))
    uses.sort(key=lambda use: (bool(use.broken), bool(use.limited)))
    return uses[0] if uses else _Use(user, product, broken="it names no store")


def _is_open_to(store: Resource, namespace: str, view: View) -> bool:
    """Whether one of the conditions of a ClusterSecretStore is true of a namespace, or it has none.

    By names, by a selector or by regular expressions (External Secrets, ClusterSecretStore).
    """
    conditions = objects(store.spec.get("conditions"))
    labels = next(
        (namespace_labels(item) for item in view.of_kind("Namespace") if item.name == namespace),
        {},
    )
    return not conditions or any(
        namespace in (condition.get("namespaces") or ())
        or bool(condition.get("namespaceRegexes"))
        or ("namespaceSelector" in condition and selects(condition["namespaceSelector"], labels))
        for condition in conditions
    )


def _references(spec: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """Every store that an ExternalSecret names: its own, and those of single entries."""
    yield from filter(None, [mapping(spec.get("secretStoreRef"))])
    for field in ("data", "dataFrom"):
        for entry in objects(spec.get(field)):
            reference = mapping(mapping(entry.get("sourceRef")).get("storeRef"))
            if reference:
                yield reference


def _generated(spec: Mapping[str, Json]) -> Iterator[str]:
    """Why entries do not count that a generator makes: a password, a token of a registry."""
    for field in ("data", "dataFrom"):
        for entry in objects(spec.get(field)):
            reference = mapping(mapping(entry.get("sourceRef")).get("generatorRef"))
            if reference:
                yield f"the generator {reference.get('kind')} makes the value, and no store has it"


def _csi(view: View) -> Iterator[_Use]:
    """Pods that mount secrets through the Secrets Store CSI driver."""
    for workload in view.workloads:
        for volume in objects(workload.spec.get("volumes")):
            driver = mapping(volume.get("csi"))
            if driver.get("driver") not in _CSI_DRIVERS:
                continue
            name = str(mapping(driver.get("volumeAttributes")).get("secretProviderClass"))
            there = any(
                item.name == name
                for item in view.in_namespace("SecretProviderClass", workload.namespace)
            )
            broken = "" if there else f"there is no SecretProviderClass {name}"
            yield _Use(_name(workload), "Secrets Store CSI driver", broken)


def _vault_agent(view: View) -> Iterator[_Use]:
    """Pods that ask for the Vault agent: live ones must have it, templates an injector."""
    injector = any(
        "vault.hashicorp.com" in str(hook.get("name"))
        for configuration in view.of_kind("MutatingWebhookConfiguration")
        for hook in objects(configuration.body.get("webhooks"))
    )
    for workload in view.workloads:
        annotations = mapping(workload.metadata.get("annotations"))
        if str(annotations.get(_AGENT_INJECT)).lower() not in ("true", "t", "1"):
            continue
        names = {container.name for container in workload.containers()}
        injected = bool(names & {"vault-agent", "vault-agent-init"})
        works = injected if workload.count else injector
        broken = "" if works else "the agent is asked for, and not injected"
        yield _Use(_name(workload), "Vault agent", broken)


def _operators(view: View) -> Iterator[_Use]:
    for kind in ("VaultStaticSecret", "VaultDynamicSecret"):
        for secret in view.of_kind(kind):
            yield _Use(f"{kind} {secret.namespace}/{secret.name}", "Vault Secrets Operator")
    sealed = view.of_kind("SealedSecret")
    if sealed:
        names = some(f"{secret.namespace}/{secret.name}" for secret in sealed)
        why = "the controller writes them as plain Secrets, and keeps its key as one"
        yield _Use(f"SealedSecret {names}", "Sealed Secrets", limited=why)


def _name(workload: Resource) -> str:
    return f"{workload.kind} {workload.namespace}/{workload.name}"


_GROUPS = {
    "external-secrets.io": "External Secrets",
    "secrets-store.csi.x-k8s.io": "Secrets Store CSI driver",
    "secrets.hashicorp.com": "Vault Secrets Operator",
    "bitnami.com": "Sealed Secrets",
}


def _installed(view: View) -> Iterator[str]:
    """What is installed, by its custom resource definitions and its driver."""
    groups = {
        definition.name.partition(".")[2] for definition in view.of_kind("CustomResourceDefinition")
    }
    names = [name for group, name in _GROUPS.items() if group in groups]
    if any(driver.name in _CSI_DRIVERS for driver in view.of_kind("CSIDriver")):
        names.append("Secrets Store CSI driver")
    yield from dict.fromkeys(names)
