"""What the API server's own flags say of pod security, where they can be seen.

They are those of kube-apiserver's pods in kube-system; a cloud that runs the control plane shows
none.
"""

from __future__ import annotations

from auditor.model import View
from checks.kubernetes._provenance.api_server import api_servers, listed

_PLUGIN = "PodSecurity"
_POLICIES = "PodSecurityPolicy"
_ENABLE = "--enable-admission-plugins"
_DISABLE = "--disable-admission-plugins"
_GATES = "--feature-gates"
_CONFIGURATION = "--admission-control-config-file"


class Flags:
    """The flags of all API servers that are seen; make it with `view.index(Flags)`.

    Of several servers one that does not enforce is enough: whoever is refused asks again until
    that one answers. `seen` says whether there is any. `off` is the flag by which one does without
    Pod Security Admission, `configuration` the one that names an AdmissionConfiguration, which may
    enforce a level where no label does, and `policies` the one by which all enforce
    PodSecurityPolicies; each is empty where no such flag is there.
    """

    def __init__(self, view: View) -> None:
        servers = api_servers(view)
        self.seen = bool(servers)
        self.off = ""
        self.configuration = ""
        for words in servers:
            if _PLUGIN in listed(words, (_DISABLE,)):
                self.off = f"{_DISABLE}={_PLUGIN}"
            elif f"{_PLUGIN}=false" in listed(words, (_GATES,)):
                self.off = f"{_GATES}={_PLUGIN}=false"
            for file in sorted(listed(words, (_CONFIGURATION,)) - {""}):
                self.configuration = f"{_CONFIGURATION}={file}"
        enforced = self.seen and all(_POLICIES in listed(words, (_ENABLE,)) for words in servers)
        self.policies = f"{_ENABLE}={_POLICIES}" if enforced else ""
