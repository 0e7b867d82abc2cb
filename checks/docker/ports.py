"""How a container meets the network: the ports it publishes, and the default bridge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

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
from checks.docker._inspect import config, host_config, inspected, missing, state
from checks.docker.namespaces import joined

_UNPRIVILEGED = 1024
"""Linux lets only root, or a process with NET_BIND_SERVICE, listen below it."""

_ANY = "0.0.0.0"  # noqa: S104 - it is looked for, not listened on
_EVERYWHERE = frozenset({_ANY, "::", "[::]"})
_HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
"""The option of a network that says on which address ports without one of their own go."""

_WEB = frozenset({80, 443})


class Port(NamedTuple):
    """A port of the container with where it is published; `number` is None while not yet known."""

    path: str
    port: str
    address: str
    number: int | None

    @property
    def shown(self) -> str:
        """As `docker ps` writes it."""
        host = f"[{self.address}]" if ":" in self.address else self.address or "the default address"
        number = "a free port" if self.number is None else str(self.number)
        return f"{host}:{number} -> {self.port}"


_Judge = Callable[[Port, View, Resource], Verdict | None]


def published(container: Resource) -> list[Port] | None:
    """The ports that a container publishes, or will when it runs; None where nothing tells.

    What the engine did (`NetworkSettings.Ports`) is taken where the container runs, else what it
    was asked to do: a stopped container is judged by how it would start.
    """
    options = host_config(container)
    done = inspected(container, "NetworkSettings")
    if state(container).get("Running") and isinstance(done, Mapping) and "Ports" in done:
        rows, where = done["Ports"], "NetworkSettings.Ports"
    elif "PortBindings" in options:
        rows, where = options["PortBindings"], "HostConfig.PortBindings"
        if str(options.get("NetworkMode") or "") == "none":
            return []
    else:
        return None
    asked = options.get("PortBindings")
    found: list[Port] = []
    for port, bindings in sorted((rows if isinstance(rows, Mapping) else {}).items()):
        # One place for a port, whether it runs or not: findings are followed from audit to audit.
        place = "HostConfig.PortBindings" if isinstance(asked, Mapping) and port in asked else where
        for binding in bindings if isinstance(bindings, list) else ():
            if isinstance(binding, Mapping):
                number = str(binding.get("HostPort") or "")
                address = str(binding.get("HostIp") or "")
                found += _ports(f"{place}[{port}]", str(port), address, number)
    return found


def _ports(path: str, port: str, address: str, number: str) -> Iterator[Port]:
    """One port, or each end of a range from which the engine chooses one."""
    first, _, last = number.partition("-")
    if not first.isdecimal() or int(first) == 0:
        yield Port(path, port, address, None)
        return
    yield Port(path, port, address, int(first))
    if last.isdecimal() and last != first:
        yield Port(path, port, address, int(last))


def _elsewhere(container: Resource, view: View) -> Verdict | None:
    """The verdict of a container whose ports are not its own to publish; None of all others."""
    mode = str(host_config(container).get("NetworkMode") or "")
    end, owner, way = joined(container, view, "NetworkMode")
    path = "HostConfig.NetworkMode"
    if end == "host" or owner is None:
        observed = f"{way and 'that of ' + way}{end if owner else 'which was not read'}"
        exposed = sorted(config(container).get("ExposedPorts") or {})
        note = f" (it declares {', '.join(exposed)})" if exposed else ""
        return unknown(path, f"{observed}: what it opens, the engine does not know{note}")
    if mode.startswith("container:"):
        return not_applicable(f"its network is that of {way}which is judged itself", path)
    return None


@check(
    id="docker-privileged-port",
    title="Containers publish no port below 1024",
    severity="medium",
    applies_to="docker/container",
)
def privileged_port(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the ports of the host on which a container is published.

    Why: ports below 1024 belong to root: who connects to one takes the service behind it for one
        of the host's own.
    Rule: fails for each port of the host below 1024, at low severity for 80 and 443, which are
        often meant; a range is judged by its ends; passes otherwise, also for a free port that the
        engine chooses, which is above 1024. A stopped container is judged by its options. Does not
        apply to a container in the network of another; unknown in the host's network, where it
        opens ports without publishing them, and when the engine's answer does not say.
    Fix: publish a higher port, and let a proxy or load balancer answer on the low one:

            docker run --publish 127.0.0.1:8080:80 IMAGE
    Source: CIS Docker 5.8 (1.6 to 1.8); NIST SP 800-190, 4.4.2.
    """
    expected = f"{_UNPRIVILEGED} or above"
    yield from _each(container, view, expected, _low)


def _low(port: Port, view: View, container: Resource) -> Verdict | None:
    if port.number is None or port.number >= _UNPRIVILEGED:
        return None
    severity = Severity.LOW if port.number in _WEB else None
    return failed(port.path, port.shown, f"{_UNPRIVILEGED} or above", severity=severity)


@check(
    id="docker-port-on-all-addresses",
    title="Containers publish their ports on a chosen address of the host",
    severity="medium",
    applies_to="docker/container",
    needs=("networks",),
)
def port_on_all_addresses(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the addresses of the host on which a container's ports are published.

    Why: Docker publishes on every address unless it is told one, past the host's own firewall
        rules: a database meant for the host is then open to every network it is in.
    Rule: fails for each port on `0.0.0.0`, `::` or without an address, unless the network's own
        default (`host_binding_ipv4`, set by `dockerd --ip`) is another; passes for any other
        address. A stopped container is judged by its options. Does not apply to a container in the
        network of another; unknown in the host's network, when a port without an address could
        have a default that was not read, and when the engine's answer does not say.
    Fix: name the address:

            docker run --publish 127.0.0.1:8080:80 IMAGE
    Source: CIS Docker 5.14 (1.6 to 1.8); NIST SP 800-190, 4.4.2.
    """
    yield from _each(container, view, "one address of the host", _open)


def _open(port: Port, view: View, container: Resource) -> Verdict | None:
    expected = "one address of the host"
    address = port.address
    if not address:
        address = view.index(_defaults).get(_network(container), _ANY)
        if address not in _EVERYWHERE:
            return None
        # It rests on a default of the network that was not found.
        return failed(port.path, port.shown, expected, stands=False)
    return failed(port.path, port.shown, expected) if address in _EVERYWHERE else None


def _network(container: Resource) -> str:
    mode = str(host_config(container).get("NetworkMode") or "default")
    return "bridge" if mode == "default" else mode


def _defaults(view: View) -> dict[str, str]:
    """The address on which each network publishes by default, by its name and its id."""
    found = {}
    for network in view.of_kind("network"):
        options: Json = network.body.get("Options")
        address = str(options.get(_HOST_BINDING) or "") if isinstance(options, Mapping) else ""
        if address:
            found[network.name] = found[str(network.body.get("Id") or "")] = address
    return found


def _each(container: Resource, view: View, expected: str, judge: _Judge) -> Iterator[Verdict]:
    elsewhere = _elsewhere(container, view) if host_config(container) else None
    if elsewhere is not None:
        yield elsewhere
        return
    ports = published(container)
    if ports is None:
        yield missing("HostConfig.PortBindings")
        return
    found = dict.fromkeys(verdict for port in ports if (verdict := judge(port, view, container)))
    yield from found
    if not found:
        # An address or a number that was read is what it is; an empty one rests on the network.
        stands = all(port.address for port in ports)
        yield passed("HostConfig.PortBindings", _listed(ports), expected, stands=stands)


def _listed(ports: list[Port]) -> str:
    return ", ".join(port.shown for port in ports) or "none"


@check(
    id="docker-published-ports",
    title="Containers publish only the ports that are needed",
    severity="low",
    applies_to="docker/container",
)
def published_ports(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every port that a container publishes.

    Why: each published port is a way in from outside; one that nobody needs is found by whoever
        looks for it.
    Rule: passes when no port is published; fails when all exposed ones are (`--publish-all`) and
        the image exposes any, since then nobody chose; else review, with the ports, because which
        of them are needed the engine cannot know. A stopped container is judged by its options.
        Does not apply to a container in the network of another; unknown in the host's network, and
        when the engine's answer does not say.
    Fix: publish by name what is needed, and let containers reach each other over a network of
        their own without publishing anything.
    Source: CIS Docker 5.9 (1.6 to 1.8); NIST SP 800-190, 4.4.2.
    """
    options = host_config(container)
    path, expected = "HostConfig.PortBindings", "ports that somebody needs"
    elsewhere = _elsewhere(container, view) if options else None
    ports = published(container)
    if elsewhere is not None:
        yield elsewhere
    elif ports is None:
        yield missing(path)
    elif options.get("PublishAllPorts") and config(container).get("ExposedPorts"):
        exposed = ", ".join(sorted(config(container)["ExposedPorts"]))
        yield failed("HostConfig.PublishAllPorts", f"true, which publishes {exposed}", "false")
    elif ports:
        yield review(path, _listed(ports), expected)
    else:
        yield passed(path, "none", expected, stands=True)


@check(
    id="docker-default-bridge",
    title="Containers are not in the default bridge network",
    severity="medium",
    applies_to="docker/container",
)
def default_bridge(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the networks that a container is in.

    Why: whoever names no network lands in the default one: there, unless the daemon forbids it,
        every container reaches every port of every other.
    Rule: fails when the container is in the network `bridge` (`podman` on Podman), named or by
        default; passes in networks of one's own, without a network, and in the host's (which
        another check fails); does not apply to a container in the network of another; unknown
        when the joined container was not read, and when the engine's answer does not say.
    Fix: make a network for each group of containers that talk to each other:

            docker network create shop
            docker run --network shop IMAGE
    Source: CIS Docker 5.30 (1.6 to 1.8); NIST SP 800-190, 4.3.3 and 4.4.2.
    """
    options = host_config(container)
    path, expected = "NetworkSettings.Networks", "networks of its own"
    if "NetworkMode" not in options:
        yield missing(path)
        return
    mode = str(options.get("NetworkMode") or "default")
    if mode.startswith("container:"):
        _, owner, way = joined(container, view, "NetworkMode")
        if owner is None:
            yield unknown("HostConfig.NetworkMode", f"that of {way}which was not read", expected)
        else:
            observed = f"its network is that of {way}which is judged itself"
            yield not_applicable(observed, "HostConfig.NetworkMode")
        return
    settings = inspected(container, "NetworkSettings")
    networks: Json = settings.get("Networks") if isinstance(settings, Mapping) else None
    names = sorted(networks) if isinstance(networks, Mapping) else []
    default = [name for name in names if name in ("bridge", "podman")]
    if not names and mode in ("default", "bridge"):
        default, path = [mode], "HostConfig.NetworkMode"
    if default:
        yield failed(path, ", ".join(names) or mode, expected)
    else:
        yield passed(path, ", ".join(names) or mode, expected, stands=True)
