"""The API server's own plugin, ImagePolicyWebhook, as its static pods show it."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Container, Resource, View
from checks.kubernetes._provenance.claims import Claim, Grip

_PLUGIN = "ImagePolicyWebhook"
_ENABLE = ("--enable-admission-plugins", "--admission-control")
_DISABLE = ("--disable-admission-plugins",)


def api_servers(view: View) -> list[list[str]]:
    """The command lines of the API servers whose pods are seen; none where a cloud runs them."""
    return view.index(_api_servers)


def _api_servers(view: View) -> list[list[str]]:
    return [
        words
        for workload in view.workloads_in("kube-system")
        for container in workload.containers()
        for words in [_words(container)]
        if container.name == "kube-apiserver"
        and any(word.startswith("--etcd-servers") for word in words)
    ]


def _words(container: Container) -> list[str]:
    return [
        str(word)
        for key in ("command", "args")
        for word in (container.body.get(key) or ())
        if isinstance(container.body.get(key), list)
    ]


def image_policy_webhook(namespace: Resource, view: View) -> Iterator[Claim]:
    """ImagePolicyWebhook, which is asked about every pod where it is enabled."""
    servers = api_servers(view)
    enabled = [words for words in servers if _is_enabled(words)]
    if not enabled:
        return
    why = "what its service refuses, and what happens when it is silent, stands outside the API"
    if len(enabled) < len(servers):
        why = f"enabled on {len(enabled)} of {len(servers)} API servers only"
    yield Claim(Grip.IN_PART, f"{_PLUGIN} of the API server", why)


def _is_enabled(words: list[str]) -> bool:
    return _PLUGIN in listed(words, _ENABLE) and _PLUGIN not in listed(words, _DISABLE)


def listed(words: list[str], flags: tuple[str, ...]) -> set[str]:
    """What the flags hold in a command line: `--flag=a,b` and `--flag a,b`."""
    found: set[str] = set()
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in flags:
            following = words[index + 1] if index + 1 < len(words) else ""
            found.update(item.strip() for item in (value if equals else following).split(","))
    return found
