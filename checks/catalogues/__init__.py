"""Benchmark catalogues as TOML: ids, titles in our own words, and the checks that decide."""
