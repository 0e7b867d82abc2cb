"""Checks of docker: one function each, its docstring the documentation."""
