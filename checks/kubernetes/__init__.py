"""Checks of kubernetes: one function each, its docstring the documentation."""
