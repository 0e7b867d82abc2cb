"""Rules of the ClusterRoles that Kubernetes ships for others to bind, as an API server lists them.

Manifests bind `edit` or `cluster-admin` and never hold them: every cluster has them. The rules are
those that a kube-apiserver of 1.35 makes (`system:aggregate-to-*` gathered). A cluster's own can
hold more, where operators add to them, so they serve to show what a binding gives at least.
"""

from __future__ import annotations

from collections.abc import Mapping

from auditor.model import Json

Rule = Mapping[str, Json]


def _rule(verbs: str, groups: str, resources: str, names: str = "") -> Rule:
    """A rule from words; `core` is the group without a name."""
    return {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "resourceNames": names.split(),
    }


def _urls(verbs: str, urls: str) -> Rule:
    return {"verbs": verbs.split(), "nonResourceURLs": urls.split()}


_OWN_RULES: Mapping[str, list[Rule]] = {
    "cluster-admin": [
        _rule("*", "*", "*"),
        _urls("*", "*"),
    ],
    "admin": [
        _rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        _rule(
            "create delete deletecollection get list patch update watch",
            "rbac.authorization.k8s.io",
            "rolebindings roles",
        ),
    ],
    "edit": [
        _rule(
            "get list watch",
            "core",
            "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
        ),
        _rule("impersonate", "core", "serviceaccounts"),
        _rule(
            "create delete deletecollection patch update",
            "core",
            "pods pods/attach pods/exec pods/portforward pods/proxy",
        ),
        _rule("create", "core", "pods/eviction"),
        _rule(
            "create delete deletecollection patch update",
            "core",
            (
                "configmaps persistentvolumeclaims replicationcontrollers "
                "replicationcontrollers/scale secrets serviceaccounts services services/proxy"
            ),
        ),
        _rule("create", "core", "serviceaccounts/token"),
        _rule("create delete deletecollection patch update", "core events.k8s.io", "events"),
        _rule(
            "create delete deletecollection patch update",
            "apps",
            (
                "daemonsets deployments deployments/rollback deployments/scale replicasets "
                "replicasets/scale statefulsets statefulsets/scale"
            ),
        ),
        _rule(
            "create delete deletecollection patch update", "autoscaling", "horizontalpodautoscalers"
        ),
        _rule("create delete deletecollection patch update", "batch", "cronjobs jobs"),
        _rule(
            "create delete deletecollection patch update",
            "extensions",
            (
                "daemonsets deployments deployments/rollback deployments/scale ingresses "
                "networkpolicies replicasets replicasets/scale replicationcontrollers/scale"
            ),
        ),
        _rule("create delete deletecollection patch update", "policy", "poddisruptionbudgets"),
        _rule(
            "create delete deletecollection patch update",
            "networking.k8s.io",
            "ingresses networkpolicies",
        ),
        _rule(
            "create delete deletecollection get list patch update watch",
            "coordination.k8s.io",
            "leases",
        ),
        _rule(
            "create delete deletecollection patch update",
            "resource.k8s.io",
            "resourceclaims resourceclaimtemplates",
        ),
    ],
    "system:auth-delegator": [
        _rule("create", "authentication.k8s.io", "tokenreviews"),
        _rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ],
    "system:basic-user": [
        _rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        _rule("create", "authentication.k8s.io", "selfsubjectreviews"),
    ],
    "system:discovery": [
        _urls(
            "get",
            (
                "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz "
                "/version /version/"
            ),
        ),
    ],
    "system:kube-aggregator": [
        _rule("get list watch", "core", "endpoints services"),
    ],
    "system:kube-dns": [
        _rule("list watch", "core", "endpoints services"),
    ],
    "system:kube-scheduler": [
        _rule("create patch update", "core events.k8s.io", "events"),
        _rule("create", "coordination.k8s.io", "leases"),
        _rule("get list update watch", "coordination.k8s.io", "leases", "kube-scheduler"),
        _rule(
            "create delete deletecollection get list patch update watch",
            "coordination.k8s.io",
            "leasecandidates",
        ),
        _rule("get list watch", "core", "nodes"),
        _rule("delete get list watch", "core", "pods"),
        _rule("create", "core", "bindings pods/binding"),
        _rule("patch update", "core", "pods/status"),
        _rule("get list watch", "core", "replicationcontrollers services"),
        _rule("get list watch", "apps extensions", "replicasets"),
        _rule("get list watch", "apps", "statefulsets"),
        _rule("get list watch", "policy", "poddisruptionbudgets"),
        _rule("get list watch", "core", "persistentvolumeclaims persistentvolumes"),
        _rule("create", "authentication.k8s.io", "tokenreviews"),
        _rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        _rule("get list watch", "storage.k8s.io", "csinodes"),
        _rule("get list watch", "storage.k8s.io", "volumeattachments"),
        _rule("get list watch", "core", "namespaces"),
        _rule("get list watch", "storage.k8s.io", "csidrivers"),
        _rule("get list watch", "storage.k8s.io", "csistoragecapacities"),
        _rule("get list watch", "resource.k8s.io", "deviceclasses"),
        _rule("get list patch update watch", "resource.k8s.io", "resourceclaims"),
        _rule("get list patch update watch", "resource.k8s.io", "resourceclaims/status"),
        _rule("update", "core", "pods/finalizers"),
        _rule("get list watch", "resource.k8s.io", "resourceslices"),
    ],
    "system:monitoring": [
        _urls(
            "get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"
        ),
        _rule("get", "core", "nodes/metrics"),
    ],
    "system:node-bootstrapper": [
        _rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
    ],
    "system:node-problem-detector": [
        _rule("get", "core", "nodes"),
        _rule("patch", "core", "nodes/status"),
        _rule("create patch update", "core events.k8s.io", "events"),
    ],
    "system:node-proxier": [
        _rule("list watch", "core", "endpoints services"),
        _rule("get list watch", "core", "nodes"),
        _rule("create patch update", "core events.k8s.io", "events"),
        _rule("list watch", "networking.k8s.io", "servicecidrs"),
        _rule("list watch", "discovery.k8s.io", "endpointslices"),
    ],
    "system:persistent-volume-provisioner": [
        _rule("create delete get list watch", "core", "persistentvolumes"),
        _rule("get list update watch", "core", "persistentvolumeclaims"),
        _rule("get list watch", "storage.k8s.io", "storageclasses"),
        _rule("watch", "core", "events"),
        _rule("create patch update", "core events.k8s.io", "events"),
    ],
    "system:public-info-viewer": [
        _urls("get", "/healthz /livez /readyz /version /version/"),
    ],
    "system:service-account-issuer-discovery": [
        _urls(
            "get",
            (
                "/.well-known/openid-configuration /.well-known/openid-configuration/ "
                "/openid/v1/jwks /openid/v1/jwks/"
            ),
        ),
    ],
    "system:volume-scheduler": [
        _rule("get list patch update watch", "core", "persistentvolumes"),
        _rule("get list watch", "storage.k8s.io", "storageclasses"),
        _rule("get list patch update watch", "core", "persistentvolumeclaims"),
    ],
    "view": [
        _rule(
            "get list watch",
            "core",
            (
                "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
                "replicationcontrollers replicationcontrollers/scale serviceaccounts services "
                "services/status"
            ),
        ),
        _rule(
            "get list watch",
            "core",
            (
                "bindings limitranges namespaces/status pods/log pods/status "
                "replicationcontrollers/status resourcequotas resourcequotas/status"
            ),
        ),
        _rule("get list watch", "core", "namespaces"),
        _rule("get list watch", "core events.k8s.io", "events"),
        _rule("get list watch", "discovery.k8s.io", "endpointslices"),
        _rule(
            "get list watch",
            "apps",
            (
                "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "
                "deployments/status replicasets replicasets/scale replicasets/status "
                "statefulsets statefulsets/scale statefulsets/status"
            ),
        ),
        _rule(
            "get list watch",
            "autoscaling",
            "horizontalpodautoscalers horizontalpodautoscalers/status",
        ),
        _rule("get list watch", "batch", "cronjobs cronjobs/status jobs jobs/status"),
        _rule(
            "get list watch",
            "extensions",
            (
                "daemonsets daemonsets/status deployments deployments/scale deployments/status "
                "ingresses ingresses/status networkpolicies replicasets replicasets/scale "
                "replicasets/status replicationcontrollers/scale"
            ),
        ),
        _rule("get list watch", "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        _rule("get list watch", "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
        _rule(
            "get list watch",
            "resource.k8s.io",
            "resourceclaims resourceclaims/status resourceclaimtemplates",
        ),
    ],
}

_VIEW = _OWN_RULES["view"]
_EDIT = [*_OWN_RULES["edit"], *_VIEW]

SHIPPED_RULES: Mapping[str, list[Rule]] = {
    **_OWN_RULES,
    "edit": _EDIT,
    "admin": [*_OWN_RULES["admin"], *_EDIT],
}
"""Rules by the name of the ClusterRole."""
