"""Checks of dockerfile: one function each, its docstring the documentation."""
