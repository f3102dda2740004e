"""Trust bundles from files, reloaded while the service runs."""
