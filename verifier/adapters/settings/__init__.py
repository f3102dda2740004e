"""Typed settings from the environment and one TOML file."""
