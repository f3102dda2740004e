"""Fetch issuer certificates over a checked connection."""
