"""One object of every kind that an audit collects, for a live API server."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALUE = "Hk7-" + "q9Zt-" * 4 + "1"
"""A made-up credential that no output may hold."""

RBAC = "rbac.authorization.k8s.io"
SPEC = {"containers": [{"name": "app", "image": "registry.example.org/app:1"}]}
CUSTOM = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def named(version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": metadata | rest.pop("meta", {}),
        **rest,
    }


def certificate_request(name: str, user: str, *groups: str) -> dict[str, Any]:
    """A request for a client certificate, signed with a key that nobody keeps."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    names.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM)
    return named(
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        name,
        spec={
            "request": base64.b64encode(pem).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    )


def world(namespace: str) -> list[dict[str, Any]]:
    """One object of every kind that is collected, some of them careless."""
    template = {"metadata": {"labels": {"app": "w"}}, "spec": SPEC}
    once = {"spec": SPEC | {"restartPolicy": "Never"}}
    selector = {"matchLabels": {"app": "w"}}
    rules = [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    ]
    nobody = {"namespaceSelector": {"matchLabels": {"nobody": "has-this"}}}
    env = [{"name": "DB_PASSWORD", "value": VALUE}]
    careless = {
        "containers": [
            {
                "name": "app",
                "image": "registry.example.org/app:1",
                "env": env,
                "args": ["--token", VALUE],
                "securityContext": {"privileged": True},
            }
        ]
    }
    return [
        named("v1", "Namespace", namespace),
        named("v1", "Pod", "careless", namespace, spec=careless),
        named(
            "apps/v1",
            "Deployment",
            "w",
            namespace,
            spec={"selector": selector, "template": template},
        ),
        named(
            "apps/v1",
            "ReplicaSet",
            "w",
            namespace,
            spec={"selector": selector, "template": template},
        ),
        named(
            "apps/v1",
            "StatefulSet",
            "w",
            namespace,
            spec={"selector": selector, "serviceName": "w", "template": template},
        ),
        named(
            "apps/v1",
            "DaemonSet",
            "w",
            namespace,
            spec={"selector": selector, "template": template},
        ),
        named("v1", "ReplicationController", "w", namespace, spec={"template": template}),
        named("batch/v1", "Job", "w", namespace, spec={"template": once}),
        named(
            "batch/v1",
            "CronJob",
            "w",
            namespace,
            spec={"schedule": "@daily", "jobTemplate": {"spec": {"template": once}}},
        ),
        named("v1", "ConfigMap", "settings", namespace, data={"API_TOKEN": VALUE, "MODE": "fast"}),
        named("v1", "Secret", "credentials", namespace, stringData={"password": VALUE}),
        named("v1", "Service", "w", namespace, spec={"ports": [{"port": 80}]}),
        named(
            "networking.k8s.io/v1",
            "Ingress",
            "w",
            namespace,
            spec={"defaultBackend": {"service": {"name": "w", "port": {"number": 80}}}},
        ),
        named(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "open",
            namespace,
            spec={"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": []}]},
        ),
        named("v1", "ResourceQuota", "w", namespace, spec={"hard": {"pods": "50"}}),
        named("v1", "LimitRange", "w", namespace, spec={"limits": []}),
        named("policy/v1", "PodDisruptionBudget", "w", namespace, spec={"minAvailable": 1}),
        named(
            f"{RBAC}/v1",
            "Role",
            "wild",
            namespace,
            rules=[{"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}],
        ),
        named(
            f"{RBAC}/v1",
            "RoleBinding",
            "wild",
            namespace,
            roleRef={"apiGroup": RBAC, "kind": "Role", "name": "wild"},
            subjects=[{"kind": "Group", "apiGroup": RBAC, "name": "live-people"}],
        ),
        named(
            f"{RBAC}/v1",
            "ClusterRoleBinding",
            "live-admin",
            roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
            subjects=[{"kind": "User", "apiGroup": RBAC, "name": "live-eve"}],
        ),
        named(
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicy",
            "live-policy",
            spec={
                "matchConstraints": {"resourceRules": rules},
                "validations": [{"expression": "true"}],
            },
        ),
        named(
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicyBinding",
            "live-policy",
            spec={
                "policyName": "live-policy",
                "validationActions": ["Audit"],
                "matchResources": nobody,
            },
        ),
        *(
            named(
                "admissionregistration.k8s.io/v1",
                f"{kind}WebhookConfiguration",
                "live-hook",
                webhooks=[
                    {
                        "name": "hook.example.org",
                        "clientConfig": {"url": "https://hook.example.org/"},
                        "rules": rules,
                        "sideEffects": "None",
                        "admissionReviewVersions": ["v1"],
                        "failurePolicy": "Ignore",
                        **nobody,
                    }
                ],
            )
            for kind in ("Validating", "Mutating")
        ),
        named(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "things.live.example.org",
            spec={
                "group": "live.example.org",
                "scope": "Namespaced",
                "names": {"kind": "Thing", "plural": "things"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": CUSTOM},
                    }
                ],
            },
        ),
        named("storage.k8s.io/v1", "StorageClass", "live-class", provisioner="example.org/none"),
        named("storage.k8s.io/v1", "CSIDriver", "live.example.org", spec={"podInfoOnMount": True}),
        certificate_request("live-request", "live-eve", "live-people", "live-operators"),
        named(
            "v1",
            "PersistentVolume",
            "live-volume",
            spec={
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/srv/live"},
            },
        ),
    ]


CLUSTER_WIDE = (
    f"/apis/{RBAC}/v1/clusterrolebindings/live-admin",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/live-policy",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/live-policy",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/live-hook",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/live-hook",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.live.example.org",
    "/apis/storage.k8s.io/v1/storageclasses/live-class",
    "/apis/storage.k8s.io/v1/csidrivers/live.example.org",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests/live-request",
    "/api/v1/persistentvolumes/live-volume",
    "/api/v1/namespaces/live-world",
)
