"""Serialization of stored values, shared by all stores."""
