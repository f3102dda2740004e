"""Hash API keys for the settings of tenants."""

import hashlib


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
