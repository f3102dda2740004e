"""Appraise documents in pure functions.

The caller passes in the time, the trust bundle and the stores. The core reads no clock, file, socket or environment
variable, writes no log, and uses no randomness.
"""
