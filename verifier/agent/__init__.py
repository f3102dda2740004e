"""What runs on a virtual machine: asks IMDS for an attested document and a verifier for its verdict.

Standard library only, so that it can be copied to a machine as one file.
"""
