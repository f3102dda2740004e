"""Certificate authorities that are trusted: bundle, clouds, horizon, and what operators decided."""
