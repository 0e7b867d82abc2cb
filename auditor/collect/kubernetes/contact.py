"""Before anything is listed: does anybody answer, is it an API server, and which cluster is it?"""

from __future__ import annotations

from collections.abc import Mapping

from auditor.collect.kubernetes.connection import Connection
from auditor.collect.kubernetes.http import Api, ApiError
from auditor.errors import CollectError
from auditor.model import Json, Reason


def cluster_uid(api: Api, connection: Connection) -> str | None:
    """The UID of the namespace kube-system, or None where it may not be read.

    It is what names a cluster: no API names it otherwise, and that namespace lives as long as the
    cluster does. Raises `CollectError` when what answers is no API server, or nobody answers.
    """
    try:
        found = _namespace(api)
    except ApiError as error:
        if error.status == 403 or (error.status == 404 and error.from_api):
            return None
        raise _unreachable(connection, error) from error
    metadata = found.get("metadata") if isinstance(found, Mapping) else None
    uid = metadata.get("uid") if isinstance(metadata, Mapping) else None
    if not uid:
        raise _unreachable(
            connection, ApiError(Reason.MALFORMED, "what answers is not a Kubernetes API server")
        )
    return str(uid)


def _namespace(api: Api) -> Json:
    path = "/api/v1/namespaces/kube-system"
    try:
        # One try: a server that is not there should be said to be so at once.
        return api.get(path, attempts=1)
    except ApiError as error:
        if error.status is None or not error.transient:
            raise
        return api.get(path)


def _unreachable(connection: Connection, error: ApiError) -> CollectError:
    where = f"context {connection.context!r} ({connection.host})"
    if error.status == 401:
        expired = connection.expired_certificate()
        if expired:
            return CollectError(
                f"the client certificate expired on {expired} (HTTP 401)",
                where=where,
                remedy="renew it and write it into the kubeconfig",
                reason=Reason.UNAUTHENTICATED,
            )
        return CollectError(
            "the API server does not accept the credentials (HTTP 401)",
            where=where,
            remedy="log in again: the token or certificate may have expired",
            reason=Reason.UNAUTHENTICATED,
        )
    if "certificate" in error.message:
        remedy = "renew the server's certificate, or correct certificate-authority"
    elif error.reason is Reason.UNREACHABLE or error.reason is Reason.TIMED_OUT:
        remedy = "see whether the server in the kubeconfig is the right one and is up"
    else:
        remedy = "see whether the server in the kubeconfig is a Kubernetes API server"
    what = f"the API server cannot be reached: {error.message}"
    if error.status is not None:
        what = f"the API server cannot be read: {error.message}"
    return CollectError(what, where=where, remedy=remedy, reason=error.reason)
