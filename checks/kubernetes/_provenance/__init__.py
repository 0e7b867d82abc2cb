"""What verifies where images come from before a pod may run: one module for each mechanism."""
