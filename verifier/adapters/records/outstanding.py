"""Check the arguments of a reservation, the same for each store."""

from datetime import timedelta

from verifier.ports.stores import MAX_RATE_KEY


def check_reservation(group: str, *, limit: int, lifetime: timedelta) -> None:
    """Raise ValueError if `group` is longer than MAX_RATE_KEY, or if `limit` or `lifetime` is not positive."""
    if len(group) > MAX_RATE_KEY:
        raise ValueError(f"the name of a group has more than {MAX_RATE_KEY} characters")
    if limit < 1 or lifetime <= timedelta(0):
        raise ValueError("the limit or the lifetime of a nonce is not positive")
