"""Auditor: decides CIS, NIST and hardening-guide controls from live state, with evidence."""

__version__ = "0.1.0"
