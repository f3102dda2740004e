"""Strict readers of DER and JSON."""
