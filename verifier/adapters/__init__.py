"""I/O: each class implements one port of `verifier.ports`."""
