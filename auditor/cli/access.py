"""`who-can` and `can`: the RBAC index, asked directly, on a live cluster or a snapshot.

Exit codes: 0 answered (`can … VERB RESOURCE`: yes); 1 no; 2 nothing could be asked; 3 answered
from what could be read, and something that may change the answer could not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli import options
from auditor.cli.access_output import (
    completeness,
    grant_json,
    path_json,
    print_gaps,
    print_json,
    print_line,
    print_path,
    print_table,
    question_json,
    subject_json,
    things,
    where,
    words,
)
from auditor.cli.wiring import configuration
from auditor.errors import CollectError, ConfigError
from auditor.scorecard import ExitCode

if TYPE_CHECKING:
    from auditor.cli.resource_names import Named
    from auditor.model import Gap, View
    from checks.kubernetes._rbac_index import Grant, RbacIndex, SubjectKey

_RBAC_SCOPES = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
_PATH_SCOPES = (*_RBAC_SCOPES, "serviceaccounts", "pods")
_CRDS = "customresourcedefinitions"

Verb = Annotated[str, typer.Argument(help="A verb, such as get, create or impersonate.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="RESOURCE[/SUBRESOURCE]",
        help="As kubectl takes it: pods, deployments.apps, pods/exec, or a path such as /metrics.",
    ),
]
Name = Annotated[str, typer.Argument(help="The name of one object.", show_default=False)]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Ask about this namespace.")
]
Format = Annotated[str, typer.Option("--format", help="table or json.")]


def who_can(
    verb: Verb,
    resource: Target,
    name: Name = "",
    namespace: Namespace = None,
    kube_context: options.KubeContext = None,
    kubeconfig: options.Kubeconfig = None,
    snapshot: options.SnapshotFile = None,
    format: Format = "table",
    config: options.ConfigFile = None,
) -> None:
    """List who may do something, and by which binding and rule.

    Without --namespace it lists grants in the whole cluster and in each single namespace; with
    it, those that hold there. A resource that is in no namespace is asked about for the cluster.

    Exit codes: 0 answered; 2 could not be asked; 3 answered, but roles or bindings could not all
    be read, so there may be more.
    """
    from checks.kubernetes._rbac_index import rbac_index

    _require_format(format)
    _require_question(verb, resource, name)
    source = _Source(kube_context, kubeconfig, snapshot, config, format)
    view = source.view((*_RBAC_SCOPES, _CRDS))
    index = rbac_index(view)
    about = _named(resource, view)
    namespace = namespace if about.namespaced else None
    found = _holders(index, verb, about, name, namespace)
    gaps = _gaps(view, _RBAC_SCOPES)
    if format == "json":
        print_json(
            {
                "question": question_json(verb, about, name, namespace),
                "subjects": [
                    {**subject_json(key), "grant": grant_json(grant)} for key, grant in found
                ],
                **completeness(gaps),
            }
        )
    else:
        from checks.kubernetes._rbac_index import shown_subject

        what = " ".join(filter(None, (verb, about.shown, name)))
        rows = [(shown_subject(key), where(grant), grant.path) for key, grant in found]
        print_table(("Subject", "Where", "By"), rows)
        count = len({key for key, _ in found})
        place = f" in namespace {namespace}" if namespace else ""
        print_line(f"{count:,} subject{'' if count == 1 else 's'} can {what}{place}")
        print_gaps(gaps)
    raise typer.Exit(ExitCode.INCOMPLETE if gaps else ExitCode.COMPLIANT)


def can(
    subject: Annotated[
        str,
        typer.Argument(
            help="sa:NAMESPACE:NAME, user:NAME or group:NAME; kinds may be written out, as in "
            "ServiceAccount:shop:web.",
        ),
    ],
    verb: Annotated[str | None, typer.Argument(help="A verb; all it may do if left out.")] = None,
    resource: Annotated[
        str | None,
        typer.Argument(metavar="[RESOURCE[/SUBRESOURCE]]", help="As kubectl takes it, or a path."),
    ] = None,
    name: Name = "",
    namespace: Namespace = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="A further group that it is in; may be repeated."),
    ] = None,
    kube_context: options.KubeContext = None,
    kubeconfig: options.Kubeconfig = None,
    snapshot: options.SnapshotFile = None,
    format: Format = "table",
    config: options.ConfigFile = None,
) -> None:
    """Say what a subject may do, with the shortest path to cluster-admin, or answer yes or no.

    Asked with a verb and a resource, the answer is the API server's for just that request:
    without --namespace it is about the whole cluster. The groups that a subject is in by nature
    count (system:authenticated, those of service accounts); others are named with --group.

    Exit codes: 0 answered, or yes; 1 no; 2 could not be asked; 3 answered from what could be
    read, and there may be more.
    """
    from checks.kubernetes._rbac_index import rbac_index

    _require_format(format)
    key = parse_subject(subject)
    if verb and not resource:
        raise ConfigError(
            "a verb needs a resource", remedy=f"say `auditor can {subject} {verb} pods`"
        )
    if verb is not None and resource is not None:
        _require_question(verb, resource, name)
    source = _Source(kube_context, kubeconfig, snapshot, config, format)
    if verb and resource:
        view = source.view((*_RBAC_SCOPES, _CRDS))
        about = _named(resource, view)
        namespace = namespace if about.namespaced else None
        _Answer(rbac_index(view), key, tuple(group or ())).say(verb, about, name, namespace, format)
    view = source.view((*_PATH_SCOPES, _CRDS))
    _Answer(rbac_index(view), key, tuple(group or ())).list(namespace, format)


class _Answer:
    """What is said of one subject."""

    def __init__(self, index: RbacIndex, key: SubjectKey, groups: tuple[str, ...]) -> None:
        self.index = index
        self.key = key
        self.groups = groups

    def say(self, verb: str, about: Named, name: str, namespace: str | None, form: str) -> None:
        """Yes or no to one request, and leave with the exit code."""
        question = (verb, about.group, about.resource, about.subresource)
        if about.url:
            yes = self.index.can_url(self.key, verb, about.url, self.groups)
            by = [grant for grant in self._all() if grant.allows_url(verb, about.url)]
        else:
            yes = self.index.can(self.key, *question, name, namespace, self.groups)
            found = self.index.matching(self.key, *question, name, groups=self.groups)
            by = [grant for grant in found if grant.namespace in (None, namespace)]
        gaps = [] if yes else _gaps(self.index.view, _RBAC_SCOPES)
        if form == "json":
            print_json(
                {
                    "subject": subject_json(self.key),
                    "groups": list(self.groups),
                    "question": question_json(verb, about, name, namespace),
                    "allowed": yes,
                    "grants": [grant_json(grant) for grant in by],
                    **completeness(gaps),
                }
            )
        else:
            print_line("yes" if yes else "no")
            print_table(("By",), [(grant.path,) for grant in by])
            print_gaps(gaps)
        code = ExitCode.COMPLIANT if yes else ExitCode.FAILURES
        raise typer.Exit(ExitCode.INCOMPLETE if gaps else code)

    def list(self, namespace: str | None, form: str) -> None:
        """All that it may do, and the shortest path to cluster-admin."""
        from checks.kubernetes._rbac import shown_name
        from checks.kubernetes._rbac_index import shown_subject

        grants = [
            grant
            for grant in self._all()
            if namespace is None or grant.namespace in (None, namespace)
        ]
        path = self.index.path_to_admin(self.key, self.groups)
        dangling = [shown_name(item) for item in self.index.dangling(self.key)]
        gaps = _gaps(self.index.view, _PATH_SCOPES)
        if form == "json":
            print_json(
                {
                    "subject": subject_json(self.key),
                    "groups": [*self.groups],
                    "grants": [grant_json(grant) for grant in grants],
                    "dangling": dangling,
                    "path_to_cluster_admin": path_json(path),
                    **completeness(gaps),
                }
            )
        else:
            rows = [
                (where(item), words(item.verbs), things(item), words(item.names), item.path)
                for item in grants
            ]
            print_table(("Where", "Verbs", "Resources", "Names", "By"), rows)
            place = f" in namespace {namespace}" if namespace else ""
            if not grants:
                print_line(f"{shown_subject(self.key)} is granted nothing{place}")
            for text in dangling:
                print_line(f"{text} grants nothing: its role does not exist")
            print_path(path)
            print_gaps(gaps)
        raise typer.Exit(ExitCode.INCOMPLETE if gaps else ExitCode.COMPLIANT)

    def _all(self) -> Sequence[Grant]:
        grants = list(self.index.effective(self.key))
        for name in self.groups:
            grants += (
                grant
                for grant in self.index.effective(("Group", None, name))
                if grant not in grants
            )
        return grants


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the roles and bindings come from."""

    kube_context: str | None
    kubeconfig: Path | None
    snapshot: Path | None
    config: Path | None
    form: str

    def view(self, scopes: Sequence[str]) -> View:
        """The one cluster, or the manifests, that the question is about.

        Raises `CollectError` where there is none, and `ConfigError` where there are several.
        """
        from auditor.evaluate import views

        if self.snapshot is None:
            return self._live(scopes)
        from auditor.snapshot import load_snapshot

        held = [
            view
            for view in views(load_snapshot(self.snapshot))
            if view.target.source == "kubernetes" or view.subjects or "roles" in view.covered
        ]
        clusters = [view for view in held if view.target.source == "kubernetes"] or held
        if self.kube_context is not None:
            clusters = [view for view in clusters if view.target.name == self.kube_context]
        if not clusters:
            raise CollectError(
                "the snapshot holds no cluster that could be asked about", where=str(self.snapshot)
            )
        if len(clusters) > 1:
            names = ", ".join(view.target.name for view in clusters)
            raise ConfigError(
                f"the snapshot holds several clusters: {names}",
                where=str(self.snapshot),
                remedy="say which one with --kube-context",
            )
        return clusters[0]

    def _live(self, scopes: Sequence[str]) -> View:
        from auditor.cli.terminal import TerminalProgress
        from auditor.collect.kubernetes import collect_kubernetes
        from auditor.collect.kubernetes.kinds import KINDS
        from auditor.evaluate import views
        from auditor.model import Snapshot

        settings = configuration(self.config)
        with TerminalProgress(quiet=self.form == "json") as progress:
            harvest = collect_kubernetes(
                kubeconfig=self.kubeconfig,
                context=self.kube_context,
                config=settings.kubernetes,
                progress=progress,
                kinds=[kind for kind in KINDS if kind.scope in scopes],
            )
        taken = Snapshot(
            taken_at="",
            tool_version="",
            targets=tuple(harvest.targets),
            resources=tuple(harvest.resources),
            gaps=tuple(harvest.gaps),
            coverage=tuple(harvest.coverage),
            settings=settings.snapshot_settings(),
        )
        return views(taken)[0]


_ACCOUNT_USER = "system:serviceaccount:"
_KINDS = {
    "sa": "ServiceAccount",
    "serviceaccount": "ServiceAccount",
    "user": "User",
    "group": "Group",
}


def parse_subject(text: str) -> SubjectKey:
    """Read a subject as a person writes it. Raises `ConfigError` for anything else.

    `sa:ns:name`, `ServiceAccount:ns:name`, `user:name`, `group:name`, or the user name of an
    account, `system:serviceaccount:ns:name`.
    """
    word, _, rest = text.partition(":")
    kind = _KINDS.get(word.lower())
    for user in (text, rest if kind == "User" else ""):
        if user.startswith(_ACCOUNT_USER) and user.count(":") == 3:
            kind, rest = "ServiceAccount", user.removeprefix(_ACCOUNT_USER)
    if kind == "ServiceAccount":
        namespace, _, name = rest.partition(":")
        if namespace and name and ":" not in name:
            return kind, namespace, name
    elif kind and rest:
        return kind, None, rest
    raise ConfigError(
        f"{text!r} is no subject", remedy="write sa:NAMESPACE:NAME, user:NAME or group:NAME"
    )


def _holders(
    index: RbacIndex, verb: str, about: Named, name: str, namespace: str | None
) -> list[tuple[SubjectKey, Grant]]:
    if about.url:
        return index.who_can_url(verb, about.url)
    question = (verb, about.group, about.resource, about.subresource, name)
    found = index.who_can(*question, namespace)
    if namespace is None and about.namespaced:
        inside = [item for item in index.holders(*question) if item[1].namespace is not None]
        found += sorted(inside, key=lambda item: (item[0][0], item[0][1] or "", item[0][2]))
    return found


def _named(text: str, view: View) -> Named:
    from auditor.cli.resource_names import named

    return named(text, [item.name for item in view.of_kind("CustomResourceDefinition")])


def _require_question(verb: str, resource: str, name: str) -> None:
    from auditor.cli.resource_names import require_verb

    require_verb(verb)
    if resource.startswith("/") and name:
        raise ConfigError(f"the path {resource!r} has no objects", remedy="leave the name out")


def _gaps(view: View, scopes: Iterable[str]) -> list[Gap]:
    from auditor.scopes import EVERYTHING, MANIFESTS

    wanted = {*scopes, EVERYTHING, MANIFESTS}
    return [gap for gap in view.gaps if gap.scope in wanted]


def _require_format(form: str) -> None:
    if form not in ("table", "json"):
        raise ConfigError(f"there is no format {form!r}", where="--format", remedy="table or json")
