"""Checks of image: one function each, its docstring the documentation."""
