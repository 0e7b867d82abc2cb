"""How containers are kept running: restarts, the build of their image, swarm mode."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Json, Resource, Verdict, View, failed, passed, review, unknown
from auditor.registry import check
from checks.docker._inspect import config, engine_info, host_config, image_of, missing

_TRIES = 5
_TASK = "com.docker.swarm.service.name"


@check(
    id="docker-restart-policy",
    title="Containers that fail are restarted five times at most",
    severity="low",
    applies_to="docker/container",
)
def restart_policy(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the restart policy of a container.

    Why: a container that is restarted for ever hides that it fails, fills the logs, and tries an
        attacker's luck again each time.
    Rule: fails for `always` and `unless-stopped`, and for `on-failure` without a bound or with one
        above 5; passes for `on-failure` with 1 to 5 tries, and where nothing is restarted; a task
        of a swarm is restarted by its service, and is for review. Unknown when the engine's answer
        does not say, or names a policy that this check does not know.
    Fix: bound it:

            docker run --restart on-failure:5 IMAGE
    Source: CIS Docker 5.15 (1.6 to 1.8).
    """
    path, expected = "HostConfig.RestartPolicy", "on-failure with 5 tries at most, or no"
    policy = host_config(container).get("RestartPolicy")
    if not isinstance(policy, dict):
        yield missing(path)
        return
    name, tries = str(policy.get("Name") or "no"), policy.get("MaximumRetryCount") or 0
    labels: Json = config(container).get("Labels")
    service = labels.get(_TASK) if isinstance(labels, dict) else None
    if service and name == "no":
        yield review(path, f"a task of the service {service}, whose own policy counts", expected)
    elif name == "no":
        yield passed(path, "no", expected, stands=True)
    elif name in ("always", "unless-stopped"):
        yield failed(path, name, expected)
    elif name != "on-failure":
        yield unknown(path, f"{name}: a policy that this check does not know", expected)
    elif 0 < tries <= _TRIES:
        yield passed(path, f"on-failure:{tries}", expected, stands=True)
    else:
        yield failed(path, f"on-failure:{tries}" if tries else "on-failure, for ever", expected)


@check(
    id="docker-image-newest",
    title="Containers run the newest build of their image",
    severity="low",
    applies_to="docker/container",
    needs=("images",),
)
def image_newest(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at whether a container's image is still the one that its tag names on this engine.

    Why: a fix that was built or pulled protects nobody while containers of the older build go on.
    Rule: fails when the tag that the container was made from names another image here by now: the
        newer one is there, and the container was not made again. Passes when the image has that
        tag and was built here, never pushed or pulled. Review, with the image's date, when it came
        from a registry or is named by a digest or an id: whether there is a newer one, only the
        registry or the publisher can say, and the audit asks neither. Unknown when the images were
        not read, or the tag is not on this engine any more.
    Fix: pull or build the image, and make the container again:

            docker pull IMAGE
            docker compose up --detach --pull always
    Source: CIS Docker 5.28 (1.6 to 1.8), which leaves it to a person; NIST SP 800-190, 4.2.2.
    """
    path, expected = "Config.Image", "the newest build"
    name = str(config(container).get("Image") or "")
    own = str(container.body.get("image_id") or "")
    if not name or not own:
        yield missing(path)
        return
    image = image_of(container, view)
    made = str(image.body.get("created") or "")[:10] if image else ""
    dated = f"built on {made}" if made else "of unknown date"
    if "@sha256:" in name or name.startswith("sha256:") or own.startswith(f"sha256:{name}"):
        yield review(path, f"{name[:80]}, {dated}: fixed by its digest or id", expected)
        return
    named = view.index(_images_by_tag).get(_tagged(name))
    if named is None:
        hidden = any(gap.scope == "images" for gap in view.gaps)
        why = "the images were not all read" if hidden else "no image of this engine has that tag"
        yield unknown(path, f"{name}: {why}", expected)
    elif str(named.body.get("id")) != own:
        newer = str(named.body.get("created") or "")[:10] or "unknown date"
        observed = f"{name} is another image here by now (of {newer}); this one is {dated}"
        yield failed(path, observed, expected)
    elif named.body.get("digests"):
        yield review(path, f"{name}, {dated}; the registry was not asked", expected)
    else:
        yield passed(path, f"{name}, {dated}, built here", expected, stands=True)


def _images_by_tag(view: View) -> dict[str, Resource]:
    return {
        _tagged(str(tag)): image
        for image in view.of_kind("image")
        for tag in image.body.get("tags") or ()
    }


def _tagged(name: str) -> str:
    """A reference with its tag, without the registry and folder that Docker leaves out."""
    for prefix in ("docker.io/", "index.docker.io/", "library/"):
        name = name.removeprefix(prefix)
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


@check(
    id="docker-swarm-mode",
    title="Swarm mode is off unless it is used",
    severity="medium",
    applies_to="docker/engine",
    needs=("containers",),
)
def swarm_mode(engine: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the swarm state of an engine, and at whether anything here came from a swarm.

    Why: swarm mode opens ports for its management and its data on every address of the host.
    Rule: passes when swarm mode is off; fails when it is on, the swarm has this one node, and no
        container here is a task of a service; review otherwise, with the nodes, since whether the
        swarm is needed a person must say, and when the state is neither on nor off (`locked`,
        `pending`, `error`). Unknown when the engine's answer does not say.
    Fix: leave the swarm where nothing needs it: `docker swarm leave --force`.
    Source: CIS Docker 5.1 (1.6 to 1.8).
    """
    path, expected = "info.Swarm.LocalNodeState", "inactive"
    swarm = engine_info(view).get("Swarm")
    if not isinstance(swarm, dict) or "LocalNodeState" not in swarm:
        yield missing(path)
        return
    mode = str(swarm["LocalNodeState"] or "inactive")
    nodes = swarm.get("Nodes") or 0
    tasks = sum(
        bool(isinstance(labels := config(item).get("Labels"), dict) and labels.get(_TASK))
        for item in view.of_kind("container")
    )
    if mode == "inactive":
        yield passed(path, mode, expected, stands=True)
    elif mode == "active" and not tasks and nodes == 1:
        observed = "active: one node, and no container is a task of a service"
        yield failed(path, observed, expected, stands=False)
    elif mode == "active":
        role = f"{nodes} nodes" if nodes else "a worker, which does not know the nodes"
        yield review(path, f"active: {role}, {tasks} tasks here", expected)
    else:
        yield review(path, mode, expected)
