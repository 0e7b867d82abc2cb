"""Tests against real parts: an API server, an engine, a browser."""
