"""Puts objects into the store behind a test's API server, past all of its admission."""

from __future__ import annotations

import base64
import json
from typing import Any

import urllib3

from tests.support.controlplane import ControlPlane


def put_object(plane: ControlPlane, key: str, body: Any) -> None:
    """Store an object as JSON, which the API server reads as well as its own binary form.

    Raises `AssertionError` where etcd does not take it.
    """

    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    answer = urllib3.request(
        "POST",
        f"{plane._etcd_url}/v3/kv/put",
        json={"key": coded(key), "value": coded(json.dumps(body))},
        timeout=30,
    )
    assert answer.status == 200, answer.data
