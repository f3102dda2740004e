"""Make the next bundle of a trust feed, and refuse what followers of the feed would refuse."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from verifier.core.encoding.moments import moment_json
from verifier.core.trust.bundle import Origin, State, TrustedCertificate, TrustError
from verifier.core.trust.published import PublishedBundle, check_steps


def next_bundle(
    entries: Iterable[TrustedCertificate],
    *,
    previous: PublishedBundle | None,
    version: int | None,
    now: datetime,
    lasting: timedelta,
) -> PublishedBundle:
    """Return the bundle of these entries with `version`, by default the one after `previous`.

    Raises TrustError if it may not replace `previous`, if it adds a certificate that has expired, or if its
    certificates allow too many steps (core.trust.published). Earlier entries stay after their certificates expire,
    because documents of earlier times need them.
    """
    newest = previous.version if previous is not None else 0
    if version is not None and version <= newest:
        raise TrustError(f"version {version} is not higher than version {newest}, which is published")
    bundle = PublishedBundle(
        version=version or newest + 1,
        published_at=now,
        expires_at=now + lasting,
        entries=tuple(replace(entry, origin=Origin.PUBLISHED) for entry in entries),
    )
    check_steps(bundle.entries)
    if previous is not None:
        previous.check_successor(bundle)
        known = {entry.certificate.sha256 for entry in previous.entries}
        for entry in bundle.entries:
            if entry.certificate.sha256 not in known and entry.state_at(now) is State.EXPIRED:
                ended = moment_json(entry.certificate.not_after)
                raise TrustError(f"{entry.certificate.subject}: expired at {ended}, so it may not be added")
    return bundle
