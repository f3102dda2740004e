"""Define the protocols that the use cases need, one module per subject."""
