"""The checks and catalogues that ship with Auditor: content, not engine."""
