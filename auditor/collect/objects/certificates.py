"""Whom a certificate signing request asks a certificate for."""

from __future__ import annotations

import base64
import binascii

from auditor.model import Json

_MAX_REQUEST = 256 * 1024


def subject_of(request: Json) -> dict[str, Json]:
    """Return `{"commonName", "organizations"}` of a `spec.request`: base64 around PEM (PKCS #10).

    They are the user name and the groups that the API server would see (Kubernetes documentation,
    X.509 client certificates). Of several common names the last counts, as in the API server's
    own reading. What cannot be read gives `{"error": …}` and never quotes the request.
    """
    # Here, not above: it takes a twentieth of a second, and few audits meet a request.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509.oid import NameOID

    if not isinstance(request, str) or not request:
        return {"error": "there is no request"}
    if len(request) > _MAX_REQUEST:
        return {"error": f"the request is longer than {_MAX_REQUEST} characters"}
    try:
        pem = base64.b64decode(request, validate=True)
    except (binascii.Error, ValueError):
        return {"error": "the request is not base64"}
    try:
        subject = x509.load_pem_x509_csr(pem).subject
        common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return {"error": "the request is not a PEM certificate request"}
    return {
        "commonName": _text(common[-1].value) if common else "",
        "organizations": [_text(group.value) for group in groups],
    }


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
