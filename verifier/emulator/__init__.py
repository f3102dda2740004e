"""An IMDS for tests and for trying the service without Azure.

It signs with a throw-away PKI of its own, which a verifier trusts only where it was pointed at the trust directory
that the emulator writes. Nothing here is used by the service itself.
"""
