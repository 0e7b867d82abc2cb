"""What is kept of custom resources and certificate requests: enough to decide, and no secret."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auditor.collect.kubernetes.kinds import CUSTOM_KINDS, KINDS
from auditor.collect.objects import resource_from
from auditor.model import Resource

VALUE = "zx9-" + "Kq81Lm-" * 3 + "w7"


def kept(version: str, kind: str, **body: Any) -> Resource:
    metadata = {"name": "x", **body.pop("metadata", {})}
    raw = {"apiVersion": version, "kind": kind, "metadata": metadata, **body}
    return resource_from(raw, source="kubernetes", target="t")


def text_of(resource: Resource) -> str:
    return orjson.dumps(resource.body).decode()


def request(*names: x509.NameAttribute) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


def common(value: str) -> x509.NameAttribute:
    return x509.NameAttribute(NameOID.COMMON_NAME, value)


def group(value: str) -> x509.NameAttribute:
    return x509.NameAttribute(NameOID.ORGANIZATION_NAME, value)


def asked(text: Any, **status: Any) -> Resource:
    spec = {
        "request": text,
        "signerName": "kubernetes.io/kube-apiserver-client",
        "username": "eve",
        "groups": ["system:authenticated"],
        "usages": ["client auth"],
        "uid": "u",
        "extra": {"authentication.kubernetes.io/credential-id": [VALUE]},
    }
    return kept("certificates.k8s.io/v1", "CertificateSigningRequest", spec=spec, status=status)


def test_a_certificate_request_says_for_whom_it_is_and_is_dropped() -> None:
    text = request(group("system:masters"), common("root"), group("ops"))
    condition = {"type": "Approved", "reason": "AutoApproved", "message": VALUE}
    resource = asked(text, conditions=[condition], certificate="LS0t")
    assert resource.body["subject"] == {
        "commonName": "root",
        "organizations": ["system:masters", "ops"],
    }
    assert resource.spec == {
        "signerName": "kubernetes.io/kube-apiserver-client",
        "username": "eve",
        "groups": ["system:authenticated"],
        "usages": ["client auth"],
    }
    assert resource.body["status"] == {"conditions": [{"type": "Approved"}], "certificate": True}
    assert VALUE not in text_of(resource)
    assert text[:60] not in text_of(resource)


def test_the_last_common_name_counts_as_for_the_api_server() -> None:
    resource = asked(request(common("first"), common("last")))
    assert resource.body["subject"] == {"commonName": "last", "organizations": []}
    assert resource.body["status"] == {"conditions": [], "certificate": False}


def certificate() -> bytes:
    """A certificate, which is no request for one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([common("x")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no request"),
        ("", "there is no request"),
        (7, "there is no request"),
        ("!!", "not base64"),
        (base64.b64encode(b"hello").decode(), "not a PEM certificate request"),
        (base64.b64encode(certificate()).decode(), "not a PEM certificate request"),
        ("A" * 300_000, "longer than"),
    ],
)
def test_a_request_that_cannot_be_read_says_so(text: Any, words: str) -> None:
    subject = asked(text).body["subject"]
    assert list(subject) == ["error"]
    assert words in subject["error"]


POLICY_TEXTS = [
    "object.spec.containers.all(c, has(c.securityContext) && !c.securityContext.privileged)",
    "object.spec.?volumes.orValue([]).all(v, !has(v.secret) || v.secret.secretName == 'tls-x8q')",
    "c.env.orValue([]).all(e, !has(e.valueFrom) || !has(e.valueFrom.secretKeyRef))",
    "v.projected.sources.all(s, s.serviceAccountToken.expirationSeconds <= 3600)",
    "object.spec.automountServiceAccountToken == false && object.spec.hostPID != true",
    "{{ request.object.spec.containers[].securityContext.capabilities.drop[] }}",
    "!*:latest",
    "registry.example.org/*@sha256:*",
    "https://token.actions.githubusercontent.com",
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8nXRh950\n"
    "-----END PUBLIC KEY-----",
]


@pytest.mark.parametrize("text", POLICY_TEXTS)
def test_the_text_of_a_policy_comes_through_whole(text: str) -> None:
    validations = [{"expression": text, "message": "not here"}]
    for version, kind in (
        ("policies.kyverno.io/v1", "ValidatingPolicy"),
        ("kyverno.io/v1", "ClusterPolicy"),
        ("policy.sigstore.dev/v1beta1", "ClusterImagePolicy"),
        ("constraints.gatekeeper.sh/v1beta1", "K8sAnything"),
    ):
        spec = {"validations": validations, "rules": [{"validate": {"cel": {"e": text}}}]}
        assert kept(version, kind, spec=spec).spec == spec


def test_a_kyverno_pattern_comes_through_whole() -> None:
    pattern = {
        "spec": {
            "=(hostPID)": "false",
            "=(automountServiceAccountToken)": "false",
            "=(initContainers)": [{"=(securityContext)": {"=(privileged)": "false"}}],
            "containers": [
                {
                    "securityContext": {
                        "runAsNonRoot": True,
                        "=(runAsUser)": ">0",
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "X(env)": [{"valueFrom": {"X(secretKeyRef)": "null"}}],
                }
            ],
        }
    }
    rules = [
        {
            "name": "r",
            "match": {"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["shop-*"]}}]},
            "exclude": {"any": [{"subjects": [{"kind": "User", "name": "root"}]}]},
            "validate": {"failureAction": "Enforce", "message": "no", "anyPattern": [pattern]},
        }
    ]
    spec = {"validationFailureAction": "Enforce", "background": True, "rules": rules}
    assert kept("kyverno.io/v1", "ClusterPolicy", spec=spec).spec == spec


def test_what_a_kyverno_rule_would_write_is_not_kept() -> None:
    generate = {
        "kind": "Secret",
        "name": "made",
        "synchronize": True,
        "data": {"kind": "Secret", "data": {"a": VALUE}},
        "foreach": [{"list": "x", "data": {"stringData": {"b": VALUE}}}],
    }
    spec = {"rules": [{"name": "r", "generate": generate}]}
    resource = kept("kyverno.io/v1", "Policy", spec=spec)
    assert VALUE not in text_of(resource)
    assert resource.spec["rules"][0]["generate"] == {
        "kind": "Secret",
        "name": "made",
        "synchronize": True,
        "foreach": [{"list": "x"}],
    }


def template(rego: str, *libs: str) -> Resource:
    target = {"target": "admission.k8s.gatekeeper.sh", "rego": rego, "libs": list(libs)}
    names = {"names": {"kind": "K8sX"}, "validation": {"openAPIV3Schema": {"type": "object"}}}
    spec = {"crd": {"spec": names}, "targets": [target]}
    return kept("templates.gatekeeper.sh/v1", "ConstraintTemplate", spec=spec)


def test_of_rego_a_fingerprint_is_kept_and_of_cel_the_text() -> None:
    one, same, other = template("package a", "l"), template("package a", "l"), template("package a")
    assert one.spec["crd"] == {"spec": {"names": {"kind": "K8sX"}}}
    (target,) = one.spec["targets"]
    assert target["rego"]["length"] == 9
    assert len(target["rego"]["fingerprint"]) == 16
    assert "package" not in text_of(one)
    assert one.spec == same.spec
    assert one.spec != other.spec
    source = {"validations": [{"expression": POLICY_TEXTS[0]}], "failurePolicy": "Fail"}
    code = [
        {"engine": "K8sNativeValidation", "source": source},
        {"engine": "Rego", "source": {"rego": "package b", "libs": ["package c"]}},
    ]
    spec = {"crd": {}, "targets": [{"target": "t", "code": code}]}
    engines = kept("templates.gatekeeper.sh/v1", "ConstraintTemplate", spec=spec).spec["targets"]
    cel, rego = engines[0]["code"]
    assert cel == {"engine": "K8sNativeValidation", "source": source}
    assert set(rego["source"]["rego"]) == {"length", "fingerprint"}


STORES = [
    ("bitnami.com/v1alpha1", "SealedSecret", {"encryptedData": {"p": VALUE}}),
    ("bitnami.com/v1alpha1", "SealedSecret", {"template": {"data": {"conf": f"x {VALUE}"}}}),
    ("external-secrets.io/v1", "SecretStore", {"provider": {"fake": {"data": [{"value": VALUE}]}}}),
    (
        "external-secrets.io/v1beta1",
        "ClusterSecretStore",
        {"provider": {"vault": {"server": f"https://u:{VALUE}@v", "caBundle": VALUE}}},
    ),
    (
        "external-secrets.io/v1",
        "ExternalSecret",
        {"target": {"template": {"data": {"conf": f"x {VALUE}"}}}},
    ),
    (
        "external-secrets.io/v1",
        "ClusterExternalSecret",
        {"externalSecretSpec": {"target": {"template": {"data": {"conf": f"x {VALUE}"}}}}},
    ),
    (
        "secrets-store.csi.x-k8s.io/v1",
        "SecretProviderClass",
        {"provider": "vault", "parameters": {"password": VALUE}},
    ),
    (
        "secrets.hashicorp.com/v1beta1",
        "VaultStaticSecret",
        {"mount": "kv", "destination": {"password": VALUE}},
    ),
]


@pytest.mark.parametrize(("version", "kind", "spec"), STORES)
def test_no_store_of_secrets_shows_one(version: str, kind: str, spec: dict[str, Any]) -> None:
    applied = orjson.dumps({"apiVersion": version, "kind": kind, "spec": spec}).decode()
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    status = {"conditions": [{"message": VALUE}]}
    metadata = {"annotations": annotations}
    assert VALUE not in text_of(kept(version, kind, spec=spec, status=status, metadata=metadata))


def test_of_stores_what_a_rule_needs_is_kept() -> None:
    store = kept(
        "external-secrets.io/v1",
        "ClusterSecretStore",
        spec={
            "provider": {"vault": {"server": "https://v", "path": "kv"}},
            "conditions": [{"namespaces": ["shop"]}],
        },
    )
    assert store.spec == {
        "provider": {"vault": {"fields": ["path", "server"]}},
        "conditions": [{"namespaces": ["shop"]}],
    }
    secret = kept(
        "external-secrets.io/v1",
        "ExternalSecret",
        spec={
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault"},
            "data": [{"remoteRef": {"key": "shop/db", "property": "user"}}],
            "target": {"name": "db", "template": {"type": "Opaque", "data": {"b": "", "a": ""}}},
        },
    )
    assert secret.spec["secretStoreRef"] == {"kind": "ClusterSecretStore", "name": "vault"}
    assert secret.spec["data"] == [{"remoteRef": {"key": "shop/db", "property": "user"}}]
    assert secret.spec["target"] == {"name": "db", "template": ["a", "b"]}
    sealed = kept(
        "bitnami.com/v1alpha1", "SealedSecret", spec={"encryptedData": {"b": "x", "a": "y"}}
    )
    assert sealed.spec == {"encryptedData": ["a", "b"]}


@pytest.mark.parametrize("kind", (*KINDS, *CUSTOM_KINDS))
def test_no_kind_is_mistaken_for_another_ones_namesake(kind: Any) -> None:
    """Each kind that is listed has a name of its own, and no stranger's object gets it."""
    pod = {"containers": [{"name": "c", "image": "i"}]}
    template_ = {"spec": {"template": {"spec": pod}}}
    bodies: dict[str, Any] = {
        "Pod": {"spec": pod},
        "CronJob": {"spec": {"jobTemplate": template_}},
        "RoleBinding": {"roleRef": {}},
        "ClusterRoleBinding": {"roleRef": {}},
    }
    own = bodies.get(kind.name, template_)
    names = {
        resource_from(
            {"apiVersion": version, "kind": kind.name, "metadata": {"name": "x"}, **body},
            source="kubernetes",
            target="t",
        ).kind
        for version, body in (
            (kind.api_version(kind.versions[0]), own),
            ("strange.example.org/v1", {}),
        )
    }
    assert len(names) == 2
    assert f"{kind.name}.strange.example.org" in names
    called = {
        (other.group, other.name)
        for other in (*KINDS, *CUSTOM_KINDS)
        if other.name == kind.name and other.group != kind.group
    }
    for group_, name in called:
        version = f"{group_}/v1" if group_ else "v1"
        other = kept(version, name, **({} if group_ else own)).kind
        # Calico's two groups hold the same objects, of which one is ever listed.
        assert other not in names or kind.name == "GlobalNetworkPolicy"


FLAGS = [
    "kube-apiserver",
    "--advertise-address=10.0.0.1",
    "--admission-control-config-file=/etc/kubernetes/admission.yaml",
    "--anonymous-auth=false",
    "--authorization-mode=Node,RBAC",
    "--client-ca-file=/etc/kubernetes/pki/ca.crt",
    "--enable-admission-plugins=NodeRestriction,ImagePolicyWebhook",
    "--enable-bootstrap-token-auth=true",
    "--encryption-provider-config=/etc/kubernetes/encryption.yaml",
    "--kubelet-client-key=/etc/kubernetes/pki/apiserver-kubelet-client.key",
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    "--service-account-key-file=/etc/kubernetes/pki/sa.pub",
    "--service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
    "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
    "--token-auth-file=/etc/kubernetes/tokens.csv",
]


def test_the_command_line_of_an_api_server_is_kept_word_by_word() -> None:
    container = {"name": "kube-apiserver", "image": "i", "command": FLAGS}
    resource = kept("v1", "Pod", spec={"containers": [container]})
    assert resource.spec["containers"][0]["command"] == FLAGS
    driver = kept("storage.k8s.io/v1", "CSIDriver", spec={"podInfoOnMount": True})
    assert driver.spec == {"podInfoOnMount": True}
