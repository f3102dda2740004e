"""Protocols that the use cases need, one module per subject."""
