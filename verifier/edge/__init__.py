"""I/O: each class stands behind one port of `verifier.ports`."""
