"""What is kept of a Kubernetes object, and that no secret value is among it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.collect.objects import SpecPool, resource_from
from auditor.model import Resource

VALUE = "zx9-" + "Kq81Lm-" * 3 + "w7"
"""A value no kept text may hold; it looks like a credential and is none."""


def kept(body: dict[str, Any], **options: Any) -> Resource:
    return resource_from(body, source="kubernetes", target="t", **options)


def text_of(resource: Resource) -> str:
    return orjson.dumps(resource.body).decode()


def pod(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", **metadata},
        "spec": {"containers": [{"name": "c", "image": "i"}]} | (spec or {}),
    }


def with_container(**fields: Any) -> dict[str, Any]:
    return pod({"containers": [{"name": "c", "image": "i", **fields}]})


def test_literal_env_values_are_dropped_and_described() -> None:
    body = with_container(
        env=[
            {"name": "DB_PASSWORD", "value": VALUE},
            {"name": "MODE", "value": "fast"},
            {"name": "NUMBER", "value": 8080},
            {"name": "NOTHING"},
            {"name": "OTHER", "value": "$(DB_PASSWORD)"},
            {"name": "REF", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]
    )
    env = kept(body).spec["containers"][0]["env"]
    assert env[0] == {
        "name": "DB_PASSWORD",
        "literal": {
            "length": len(VALUE),
            "hits": [{"detector": "credential name", "length": len(VALUE), "placeholder": False}],
        },
    }
    assert env[1] == {"name": "MODE", "literal": {"length": 4, "hits": []}}
    assert [entry["literal"]["length"] for entry in env[2:5]] == [4, 0, 14]
    assert env[4]["literal"]["hits"] == []
    assert env[5]["valueFrom"] == {"secretKeyRef": {"name": "s", "key": "k"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"args": [f"--password={VALUE}"]},
        {"args": ["--password", VALUE]},
        {"command": ["sh", "-c", f"export TOKEN={VALUE}; run"]},
        {"livenessProbe": {"exec": {"command": ["ping", f"--token={VALUE}"]}}},
        {
            "readinessProbe": {
                "httpGet": {
                    "path": "/",
                    "httpHeaders": [{"name": "X-Api-Key", "value": VALUE}],
                }
            }
        },
        {"lifecycle": {"preStop": {"exec": {"command": ["bye", f"--secret={VALUE}"]}}}},
    ],
    ids=["assigned", "pair", "shell", "probe", "header", "hook"],
)
def test_credentials_in_commands_and_probes_are_redacted(fields: dict[str, Any]) -> None:
    resource = kept(with_container(**fields))
    assert VALUE not in text_of(resource)
    container = resource.spec["containers"][0]
    assert container["redacted"][0]["length"] == len(VALUE)


@pytest.mark.parametrize(
    "volume",
    [
        {"csi": {"driver": "d", "volumeAttributes": {"password": VALUE}}},
        {"flexVolume": {"driver": "d", "options": {"secretToken": VALUE}}},
    ],
)
def test_credentials_among_options_of_a_volume_driver_are_redacted(
    volume: dict[str, Any],
) -> None:
    body = pod({"volumes": [{"name": "v", **volume}]})
    assert VALUE not in text_of(kept(body))


def test_configmap_values_are_dropped_key_by_key() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n"},
        "data": {"API_TOKEN": VALUE, "MODE": "fast", "app.conf": f"a=b\npassword={VALUE}\n"},
        "binaryData": {"blob": "AAAA"},
    }
    resource = kept(body)
    data = resource.body["data"]
    assert data["MODE"] == {"length": 4, "hits": []}
    assert [hit["detector"] for hit in data["API_TOKEN"]["hits"]] == ["credential name"]
    assert len(data["app.conf"]["hits"]) == 1
    assert resource.body["binaryData"] == {"blob": {"length": 4, "hits": []}}
    assert VALUE not in text_of(resource)
    assert "fast" not in text_of(resource)


def test_source_code_in_a_configmap_is_not_read_as_settings() -> None:
    code = "def login(user, password):\n    password = ask()\n    token = password\n"
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n"},
        "data": {"login.py": code},
    }
    assert kept(body).body["data"]["login.py"]["hits"] == []


def test_of_a_secret_only_type_and_keys_are_kept() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "s",
            "namespace": "n",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": orjson.dumps(
                    {"kind": "Secret", "stringData": {"a": VALUE}}
                ).decode()
            },
        },
        "type": "kubernetes.io/tls",
        "data": {"tls.key": VALUE},
        "stringData": {"tls.crt": VALUE},
    }
    resource = kept(body)
    assert resource.body["type"] == "kubernetes.io/tls"
    assert resource.body["keys"] == ["tls.crt", "tls.key"]
    assert VALUE not in text_of(resource)


def test_last_applied_configuration_is_searched_and_dropped() -> None:
    applied = {
        "kind": "ConfigMap",
        "data": {"OLD_PASSWORD": VALUE, "MODE": "fast"},
    }
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "c",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": orjson.dumps(applied).decode()
            },
        },
        "data": {},
    }
    resource = kept(body)
    assert [row["path"] for row in resource.metadata["lastApplied"]] == ["data.OLD_PASSWORD"]
    assert VALUE not in text_of(resource)
    assert "last-applied" not in text_of(resource)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"data": 7}', "[" * 900 + "]" * 900])
def test_a_strange_last_applied_annotation_harms_nothing(text: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "c",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": text},
        },
    }
    assert kept(body).metadata["annotations"] == {}


def test_annotations_are_redacted_and_long_ones_dropped() -> None:
    body = pod(
        annotations={"note": "short", "api-token": VALUE, "long": "x" * 5000},
        labels={"app": "web", "odd": VALUE * 4},
        managedFields=[{"manager": "kubectl"}],
    )
    annotations = kept(body).metadata["annotations"]
    assert annotations["note"] == "short"
    assert VALUE not in annotations["api-token"]
    assert annotations["long"] == "«dropped: 5000 characters»"
    assert "managedFields" not in kept(body).metadata
    assert kept(body).metadata["labels"]["app"] == "web"


def test_webhooks_lose_their_certificates_and_custom_resources_their_credentials() -> None:
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"},
        "webhooks": [
            {
                "name": "a.example.com",
                "clientConfig": {"caBundle": "QUJD", "url": f"https://u:{VALUE}@h.example"},
            }
        ],
    }
    assert kept(webhook).body["webhooks"][0]["name"] == "a.example.com"
    assert "caBundle" not in text_of(kept(webhook))
    custom = {
        "apiVersion": "example.com/v1",
        "kind": "Database",
        "metadata": {"name": "d"},
        "spec": {"password": VALUE, "env": [{"name": "API_KEY", "value": VALUE}], "size": 3},
        "status": {"token": VALUE},
    }
    resource = kept(custom)
    assert VALUE not in text_of(kept(webhook)) + text_of(resource)
    assert resource.spec["size"] == 3


def test_a_kind_that_only_shares_its_name_is_told_apart() -> None:
    body = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "n"},
    }
    assert kept(body).kind == "Service.serving.knative.dev"


def token_volume(suffix: str) -> dict[str, Any]:
    name = f"kube-api-access-{suffix}"
    return {
        "volumes": [{"name": name, "projected": {"sources": []}}, {"name": "tmp", "emptyDir": {}}],
        "containers": [
            {"name": "c", "image": "i", "volumeMounts": [{"name": name, "mountPath": "/t"}]}
        ],
        "nodeName": f"node-{suffix}",
        "hostname": f"host-{suffix}",
        "affinity": {"nodeAffinity": {"name": suffix}},
    }


def test_pods_of_one_template_share_one_spec() -> None:
    pool = SpecPool()
    first = kept(pod(token_volume("abcde")), specs=pool)
    second = kept(pod(token_volume("fghij")), specs=pool)
    third = kept(pod(token_volume("fghij") | {"hostPID": True}), specs=pool)
    assert first.spec is second.spec
    assert third.spec is not first.spec
    assert len(pool) == 2
    assert first.spec["volumes"][0]["name"] == "kube-api-access"
    assert first.spec["containers"][0]["volumeMounts"][0]["name"] == "kube-api-access"
    assert first.body["nodeName"] == "node-abcde"
    assert "nodeName" not in first.spec


def test_specs_that_differ_in_a_value_only_share_what_is_kept() -> None:
    pool = SpecPool()
    one, other = (
        kept(with_container(env=[{"name": "A", "value": value}]), specs=pool)
        for value in ("aaaa", "bbbb")
    )
    assert one.spec is other.spec


def test_many_distinct_specs_are_all_kept_apart() -> None:
    pool = SpecPool()
    specs = {id(kept(pod({"priority": n}), specs=pool).spec) for n in range(300)}
    again = {id(kept(pod({"priority": n}), specs=pool).spec) for n in range(300)}
    assert len(specs) == len(pool) == 300
    assert again == specs


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("text", "not a mapping"),
        ({"kind": "Pod"}, "kind or apiVersion"),
        ({"kind": 3, "apiVersion": "v1"}, "kind or apiVersion"),
        ({"kind": "Pod", "apiVersion": "v1"}, "metadata is missing"),
        ({**pod(), "metadata": {}}, "metadata.name is missing"),
        ({**pod(), "spec": []}, "spec is not an object"),
        (pod({"containers": None}), "spec.containers is empty"),
        (pod({"containers": {"a": 1}}), "spec.containers is not a list"),
        (pod({"containers": ["a"]}), r"spec.containers\[0\] is not an object"),
        (pod({"volumes": 3}), "spec.volumes is not a list"),
        (pod({"securityContext": "root"}), "spec.securityContext is not an object"),
        (with_container(securityContext=[]), "securityContext is not an object"),
        (with_container(securityContext={"capabilities": []}), "capabilities is not an object"),
        (with_container(env={"A": "b"}), "env is not a list"),
        (with_container(args="run"), "args is not a list"),
        (with_container(resources={"limits": 1}), "limits is not an object"),
        (
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": []},
            "spec is not an object",
        ),
        (
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": "d"},
                "spec": {"jobTemplate": {"spec": {}}},
            },
            "spec.jobTemplate.spec.template is not an object",
        ),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": [1]},
            "data is not an object",
        ),
        (
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "b"},
            },
            "roleRef is not an object",
        ),
    ],
)
def test_a_malformed_object_is_refused_with_its_place(body: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kept(body)


def test_an_object_with_a_generated_name_is_kept() -> None:
    body = {**pod(), "metadata": {"generateName": "job-"}}
    assert kept(body).name == "job-*"


def test_an_old_revision_loses_its_template_and_a_lone_replicaset_does_not() -> None:
    spec = {"replicas": 0, "template": {"spec": pod()["spec"]}}
    body = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": spec}
    owner = [{"kind": "Deployment", "name": "d", "controller": True}]
    old = kept({**body, "metadata": {"name": "r", "ownerReferences": owner}})
    lone = kept({**body, "metadata": {"name": "r"}})
    assert old.spec == {"replicas": 0}
    assert "template" in lone.spec


def test_a_cronjob_keeps_its_pod_spec_where_it_stands() -> None:
    body = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "d"},
        "spec": {
            "schedule": "@daily",
            "suspend": True,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 1,
                    "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]},
                }
            },
        },
    }
    spec = kept(body).spec
    job = spec["jobTemplate"]["spec"]
    assert (spec["suspend"], job["backoffLimit"]) == (True, 1)
    assert job["template"]["metadata"] == {"labels": {"a": "b"}}
    assert job["template"]["spec"]["containers"][0]["name"] == "c"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
KINDS = ("Pod", "Deployment", "ReplicaSet", "CronJob", "ConfigMap", "Secret", "ClusterRole")


@given(
    kind=st.sampled_from(KINDS),
    metadata=st.fixed_dictionaries(
        {"name": st.text(min_size=1, max_size=4)},
        optional={"labels": JSON, "annotations": JSON, "ownerReferences": JSON},
    ),
    rest=st.fixed_dictionaries(
        {}, optional={"spec": JSON, "data": JSON, "rules": JSON, "status": JSON}
    ),
)
def test_whatever_an_object_holds_it_is_kept_or_refused(
    kind: str, metadata: dict[str, Any], rest: dict[str, Any]
) -> None:
    """Nothing but ValueError comes out, and what is kept can be stored."""
    groups = {"ClusterRole": "rbac.authorization.k8s.io/v1", "CronJob": "batch/v1"}
    version = groups.get(kind, "apps/v1" if kind in {"Deployment", "ReplicaSet"} else "v1")
    try:
        resource = kept({"apiVersion": version, "kind": kind, "metadata": metadata, **rest})
    except ValueError:
        return
    orjson.dumps(resource.body)
