"""Stores on SQLite."""
