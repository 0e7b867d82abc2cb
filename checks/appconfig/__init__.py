"""Checks of appconfig: one function each, its docstring the documentation."""
