"""World to snapshot: the only part of the program that touches a cluster, an engine or a file.

One module for each source. A collector never raises for what it cannot read: it records a gap,
with the reason and what would mend it, and goes on with the rest.
"""
