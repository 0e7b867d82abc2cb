"""A small job that writes a ledger as CSV: something for the example Dockerfiles to build."""
