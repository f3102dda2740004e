"""Describe which certificate authorities are trusted, for which clouds and for how long."""
