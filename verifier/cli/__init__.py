"""The command line, `imds-verifier`."""
