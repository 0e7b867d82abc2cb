"""Whether a cluster would refuse a pod: each mechanism that can, and what they say together."""
