"""Write what the commands of a trust feed show: bundles, roots, and the state of a feed."""

import hashlib
import json
from collections.abc import Iterator

from verifier.cli.trust_text import table_text
from verifier.core.encoding.moments import moment_json
from verifier.core.encoding.printable import printable
from verifier.core.trust.published import PublishedBundle, changes_between
from verifier.ports.feed_publishing import FeedOverview, Proposal, ProposedRoot


def bundle_lines(bundle: PublishedBundle, known: PublishedBundle, proposal: Proposal) -> Iterator[str]:
    """Write what signatures of the proposal put in force, compared with the `known` bundle."""
    yield f"version {bundle.version} of the bundle, until {moment_json(bundle.expires_at)}"
    if proposal.targets_expire_at is not None:
        yield f" (metadata until {moment_json(proposal.targets_expire_at)})"
    yield f", SHA-256 {hashlib.sha256(proposal.bundle or b'').hexdigest()}:\n"
    changes = changes_between(known, bundle)
    for change in changes:
        yield f"  {printable(str(change))}, SHA-256 {change.entry.certificate.sha256}\n"
    if not changes:
        yield "  changes no certificate\n"


def root_lines(root: ProposedRoot) -> Iterator[str]:
    """Write which keys and thresholds the root changes."""
    yield f"version {root.version} of the root, until {moment_json(root.expires_at)}:\n"
    before = {role.name: role for role in root.before}
    for role in root.roles:
        earlier = before.get(role.name)
        keys, known = set(role.key_ids), set(earlier.key_ids if earlier else ())
        yield from (f"  adds the key {key} of {role.name}\n" for key in sorted(keys - known))
        yield from (f"  removes the key {key} of {role.name}\n" for key in sorted(known - keys))
        if earlier is None or earlier.threshold != role.threshold:
            yield f"  needs {role.threshold} signatures of {role.name}\n"
    if root.roles == root.before:
        yield "  changes no key\n"


def overview_json(overview: FeedOverview) -> str:
    roles = [
        {
            "role": role.name,
            "version": role.version,
            "expiresAt": None if role.expires_at is None else moment_json(role.expires_at),
            "threshold": role.threshold,
            "keys": list(role.key_ids),
        }
        for role in overview.roles
    ]
    pending = [
        {"file": str(one.file), "version": one.version, "signedBy": list(one.signed_by), "missing": one.missing}
        for one in overview.pending
    ]
    return json.dumps({"roles": roles, "pending": pending}, indent=2) + "\n"


def overview_text(overview: FeedOverview) -> str:
    rows = [("ROLE", "VERSION", "EXPIRES", "THRESHOLD", "KEYS")]
    for role in overview.roles:
        expires = "" if role.expires_at is None else moment_json(role.expires_at)
        for position, key in enumerate(role.key_ids):
            first = (role.name, str(role.version or "none"), expires, str(role.threshold))
            rows.append((*(("", "", "", "") if position else first), key))
    lines = [
        f"{_missing(one.missing)}: {one.file} (version {one.version}, signed by {len(one.signed_by)})\n"
        for one in overview.pending
    ]
    return table_text(rows) + "".join(lines)


def _missing(number: int) -> str:
    return f"waits for {number} more signature{'' if number == 1 else 's'}"
