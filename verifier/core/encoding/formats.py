"""Explain why this release cannot read data whose format a later release defined."""

#: No release writes a greater number. A message does not repeat one that is greater.
_MOST = 10**9


def explain_newer_format(name: str, found: object, known: int) -> str | None:
    """Return what to do about data of the format `found`. Return None unless that is an integer above `known`.

    `known` is the latest format that this release reads. The sentence has no full stop.
    """
    if type(found) is not int or found <= known:
        return None
    written = f"format {found}" if found <= _MOST else "a later format"
    return f"{name} has {written}, and this release knows format {known}: update imds-verifier"
