"""Resources as `kubectl` takes them: `pods`, `po`, `deployments.apps`, `pods/exec`, `/healthz`.

The names of Kubernetes' own resources are listed here (facts of `kubectl api-resources`, 1.35); a
custom one is found among the cluster's CustomResourceDefinitions, or named with its group.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from auditor.errors import ConfigError


class Named(NamedTuple):
    """What a request is about: a resource, or a path (`url`) that is none."""

    group: str
    resource: str
    subresource: str
    url: str
    namespaced: bool

    @property
    def shown(self) -> str:
        """As a person would write it: `deployments.apps/scale`."""
        if self.url:
            return self.url
        name = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{name}/{self.subresource}" if self.subresource else name


# Group, then plural names with their short ones in brackets; cluster-wide ones after the bar.
_KNOWN = """
core: bindings configmaps(cm) endpoints(ep) events(ev) limitranges(limits) \
persistentvolumeclaims(pvc) pods(po) podtemplates replicationcontrollers(rc) resourcequotas(quota) \
secrets serviceaccounts(sa) services(svc) | componentstatuses(cs) groups namespaces(ns) nodes(no) \
persistentvolumes(pv) users
admissionregistration.k8s.io: | mutatingadmissionpolicies mutatingadmissionpolicybindings \
mutatingwebhookconfigurations validatingadmissionpolicies validatingadmissionpolicybindings \
validatingwebhookconfigurations
apiextensions.k8s.io: | customresourcedefinitions(crd,crds)
apiregistration.k8s.io: | apiservices
apps: controllerrevisions daemonsets(ds) deployments(deploy) replicasets(rs) statefulsets(sts)
authentication.k8s.io: | selfsubjectreviews tokenreviews uids userextras
authorization.k8s.io: localsubjectaccessreviews | selfsubjectaccessreviews selfsubjectrulesreviews \
subjectaccessreviews
autoscaling: horizontalpodautoscalers(hpa)
batch: cronjobs(cj) jobs
certificates.k8s.io: | certificatesigningrequests(csr) clustertrustbundles signers
coordination.k8s.io: leases
discovery.k8s.io: endpointslices
flowcontrol.apiserver.k8s.io: | flowschemas prioritylevelconfigurations
networking.k8s.io: ingresses(ing) networkpolicies(netpol) | ingressclasses ipaddresses servicecidrs
node.k8s.io: | runtimeclasses
policy: poddisruptionbudgets(pdb) | podsecuritypolicies(psp)
rbac.authorization.k8s.io: rolebindings roles | clusterrolebindings clusterroles
resource.k8s.io: resourceclaims resourceclaimtemplates | deviceclasses resourceslices
scheduling.k8s.io: | priorityclasses(pc)
storage.k8s.io: csistoragecapacities | csidrivers csinodes storageclasses(sc) volumeattachments \
volumeattributesclasses
"""


def _table() -> tuple[dict[str, tuple[str, str]], set[tuple[str, str]]]:
    """Group and plural by every name, and the cluster-wide ones."""
    names: dict[str, tuple[str, str]] = {}
    wide: set[tuple[str, str]] = set()
    for line in _KNOWN.strip().splitlines():
        group, _, rest = line.partition(":")
        group = "" if group == "core" else group
        for part, listed in enumerate(rest.split("|")):
            for word in listed.split():
                plural, _, short = word.rstrip(")").partition("(")
                known = (group, plural)
                for name in (plural, _singular(plural), *filter(None, short.split(","))):
                    names.setdefault(name, known)
                if part:
                    wide.add(known)
    return names, wide


def _singular(plural: str) -> str:
    for end, one in (("ies", "y"), ("classes", "class"), ("sses", "ss"), ("s", "")):
        if plural.endswith(end) and plural != "endpoints":
            return plural.removesuffix(end) + one
    return plural


_VERSION = re.compile(r"^v\d+(?:(?:alpha|beta)\d+)?(?:\.|$)")
"""The version in `deployments.v1.apps`, which RBAC does not know."""

_VERB = re.compile(r"\*|[a-z][a-z0-9:-]*")


def require_verb(text: str) -> None:
    """Raise `ConfigError` for what no role could mean as a verb, so that no "no" misleads."""
    if not _VERB.fullmatch(text):
        raise ConfigError(
            f"{text!r} is no verb", remedy="write one in lower case, such as get, or * for all"
        )


def named(text: str, custom: Collection[str] = ()) -> Named:
    """Read a resource as `kubectl auth can-i` takes it; `custom` are `plural.group` names.

    Raises `ConfigError` for a name without a group that neither Kubernetes nor `custom` has.
    """
    if text.startswith("/"):
        return Named("", "", "", text, False)
    name, slash, subresource = text.partition("/")
    if slash and not subresource:
        raise ConfigError(
            f"{text!r} names no subresource", remedy="such as pods/exec, or pods alone"
        )
    resource, _, group = name.partition(".")
    resource, group = resource.lower(), _VERSION.sub("", group)
    if resource == "*":
        return Named(group or "*", "*", subresource, "", True)
    names, wide = _table()
    known = names.get(resource)
    if not group:
        group, resource = known or _custom(resource, custom)
    elif known and known[0].startswith(f"{group}."):
        group, resource = known  # kubectl takes the start of a group for the group: roles.rbac
    return Named(group, resource, subresource, "", (group, resource) not in wide)


def _custom(resource: str, custom: Collection[str]) -> tuple[str, str]:
    found: Mapping[str, str] = {
        item: item.partition(".")[2] for item in custom if item.partition(".")[0] == resource
    }
    if len(set(found.values())) == 1:
        return next(iter(found.values())), resource
    if found:
        raise ConfigError(
            f"several API groups have {resource!r}",
            remedy=f"say which one: {', '.join(sorted(found))}",
        )
    raise ConfigError(
        f"{resource!r} is no resource of Kubernetes itself",
        remedy="name it with its group, such as widgets.example.com",
    )
