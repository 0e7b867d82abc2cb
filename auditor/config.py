"""The configuration file: one TOML document, every key known, every mistake named with its line.

`config.toml` at the top of the project is the commented default; the values here are the same
(a test holds the two together), so that the program also works without a file.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auditor.errors import ConfigError
from auditor.model import Json, Severity

FORMATS = ("html", "pdf", "json", "csv")
"""The report formats this version writes."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AuditTable(_Table):
    """`[audit]`: what is decided, and what makes the exit code 1."""

    benchmarks: list[str] = [
        "cis-kubernetes@auto",
        "cis-docker@1.8",
        "nist-csf@2.0",
        "nist-800-53@r5",
        "nist-800-190",
        "hardening-guide",
        "checklist",
    ]
    fail_on: Literal["critical", "high", "medium", "low", "info"] = "low"
    formats: list[Literal["html", "pdf", "json", "csv"]] = [
        "html",
        "pdf",
        "json",
        "csv",
    ]
    output: str = "audit"

    @property
    def threshold(self) -> Severity:
        """`fail_on` as a severity."""
        return Severity(self.fail_on)


class KubernetesTable(_Table):
    """`[kubernetes]`: how the API server is read. Times are in seconds."""

    page_size: int = Field(default=500, ge=1, le=5000)
    parallel: int = Field(default=8, ge=1, le=64)
    call_timeout: float = Field(default=30.0, gt=0)
    deadline: float = Field(default=300.0, gt=0)
    retries: int = Field(default=4, ge=0, le=20)
    max_retry_after: float = Field(default=20.0, gt=0)
    probe_admission: bool = False


class DockerTable(_Table):
    """`[docker]`: how the engine is read. Times are in seconds, sizes in bytes."""

    call_timeout: float = Field(default=30.0, gt=0)
    deadline: float = Field(default=600.0, gt=0)
    image_files: bool = True
    image_max_bytes: int = Field(default=20 * 1024**3, gt=0)
    archive_max_members: int = Field(default=2_000_000, gt=0)
    secret_scan_max_bytes: int = Field(default=256 * 1024, gt=0)


class AcceptedSubject(_Table):
    """`[[rules.accepted_subjects]]`: who may hold rights that a check fails, and why.

    `subject` is `Group:name`, `User:name` or `ServiceAccount:namespace:name`; it and `checks` may
    hold wildcards (`*`).
    """

    subject: str = Field(min_length=1)
    checks: list[str] = ["*"]
    reason: str = Field(min_length=1)


class AcceptedWorkload(_Table):
    """`[[rules.accepted_workloads]]`: which workload may do what a check fails, and why.

    `workload` is `namespace/Kind/name`; it and `checks` may hold wildcards (`*`).
    """

    workload: str = Field(min_length=1)
    checks: list[str] = ["*"]
    reason: str = Field(min_length=1)


class RulesTable(_Table):
    """`[rules]`: the thresholds of the decision rules; the report prints the values used."""

    system_namespaces: list[str] = ["kube-system", "kube-public", "kube-node-lease"]
    accepted_subjects: list[AcceptedSubject] = []
    accepted_workloads: list[AcceptedWorkload] = []
    setuid_allowed: list[str] = []
    context_secret_patterns: list[str] = [
        ".env",
        ".git",
        "*.pem",
        "*.key",
        "id_rsa",
        ".npmrc",
        ".netrc",
    ]


class ReportTable(_Table):
    """`[report]`: what the cover prints and how much the PDF lists."""

    title: str = "Container platform audit"
    organisation: str = ""
    prepared_for: str = ""
    prepared_by: str = ""
    period: str = ""
    classification: str = ""
    language: Literal["en"] = "en"
    paper: Literal["A4", "Letter"] = "A4"
    pdf_findings: int = Field(default=30, ge=1, le=2000)
    html_findings: int = Field(default=2000, ge=1, le=100_000)


class PluginsTable(_Table):
    """`[plugins]`: folders of Python files with further checks. Importing them runs their code."""

    folders: list[str] = []


class Config(_Table):
    """The whole configuration."""

    audit: AuditTable = AuditTable()
    kubernetes: KubernetesTable = KubernetesTable()
    docker: DockerTable = DockerTable()
    rules: RulesTable = RulesTable()
    report: ReportTable = ReportTable()
    plugins: PluginsTable = PluginsTable()

    def snapshot_settings(self) -> dict[str, Json]:
        """The part that decides verdicts and the report's look, kept inside a snapshot.

        Plugin folders and other things that make a program run code never go there: a snapshot is
        data from somewhere else.
        """
        return {
            "benchmarks": self.audit.benchmarks,
            "fail_on": self.audit.fail_on,
            "rules": self.rules.model_dump(),
            "report": self.report.model_dump(),
        }

    def with_settings(self, settings: dict[str, Any]) -> Config:
        """Return this configuration with the settings that a snapshot carries put in.

        Raises `ConfigError` when the snapshot holds settings this version does not know.
        """
        data = self.model_dump()
        data["audit"]["benchmarks"] = settings["benchmarks"]
        data["audit"]["fail_on"] = settings["fail_on"]
        data["rules"] = settings["rules"]
        data["report"] = settings["report"]
        return _validate(data, text="", where="the snapshot's settings")


def load_config(path: Path | None) -> Config:
    """Read a configuration file, or give the defaults when `path` is None.

    Raises `ConfigError` for a file that cannot be read, is not TOML, or has a key or value that
    is not known; the message names the key and its line.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration: {error.strerror}", where=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("the configuration is not UTF-8 text", where=str(path)) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the configuration is not TOML: {error}", where=str(path)) from error
    return _validate(data, text=text, where=str(path))


def _validate(data: dict[str, Any], *, text: str, where: str) -> Config:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        keys = [str(part) for part in first["loc"]]
        dotted = ".".join(keys)
        line = _line_of(text, [key for key in keys if not key.isdigit()])
        place = f"{where}:{line}" if line else where
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"unknown key {dotted!r}",
                where=place,
                remedy=f"known here: {', '.join(_known(keys[:-1]))}",
            ) from error
        raise ConfigError(f"{dotted}: {first['msg'].lower()}", where=place) from error


def _known(path: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for key in path:
        annotation = model.model_fields[key].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return sorted(model.model_fields)


def _line_of(text: str, keys: list[str]) -> int | None:
    """Find the 1-based line of a key: TOML parsers of the standard library do not tell it."""
    table: list[str] = []
    found: int | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if header and "=" not in line.split("#")[0]:
            table = [part.strip().strip("\"'") for part in header.group(1).split(".")]
            if table == keys[: len(table)]:
                found = number
                if table == keys:
                    return number
            continue
        assigned = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
        if assigned:
            name = [part.strip().strip("\"'") for part in assigned.group(1).split(".")]
            if table + name == keys[: len(table) + len(name)]:
                return number
    return found
