"""Format the state of trust for a terminal. Text from untrusted senders is escaped and marked as unverified."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from verifier.api.trust_json_codec import denial_parts, sha1_of
from verifier.core.encoding.moments import moment_json
from verifier.core.encoding.printable import printable
from verifier.core.issuer_review import ReviewStatus, SurveyedIssuer
from verifier.core.trust.clouds import Cloud
from verifier.ports.trust import NonconformingRecord
from verifier.usecases.trust_feed import FeedStatus
from verifier.usecases.trust_survey import SurveyedCloud, TrustSurvey

_ATTENTION = "  ! "


def status_text(survey: TrustSurvey, *, warning: timedelta, asked: Collection[Cloud] = ()) -> str:
    """Format when trust in each cloud ends, what ends within `warning`, and what needs a decision of an operator.

    Clouds that were `asked` for, and that the bundle does not list, have a line too.
    """
    at = survey.at
    lines = [f"trust generation {survey.generation}, as of {moment_json(at)}"]
    lines += [f"  {cloud.cloud.value:<24}{_horizon(cloud, at)}" for cloud in survey.clouds]
    missing = sorted(set(asked) - {cloud.cloud for cloud in survey.clouds})
    lines += [f"  {cloud.value:<24}NOT IN THE BUNDLE: every document of this cloud is refused" for cloud in missing]
    ending = survey.ending_within(warning)
    if ending:
        lines.append(f"ending within {warning.days} days:")
        lines += [
            f"{_ATTENTION}{_days(one.usable_until, at)}  {printable(one.certificate.subject)} ({_clouds(one.clouds)})"
            for one in ending
        ]
    lines += _feed_lines(survey.feed)
    open_issuers = [issuer for issuer in survey.discovered if issuer.review_status.is_open]
    if open_issuers:
        lines.append("issuers that are not pinned:")
        for issuer in open_issuers:
            lines += _issuer_lines(issuer)
    if survey.nonconforming:
        lines.append("genuine documents that are refused for their form (Azure may have changed it):")
        for record in survey.nonconforming:
            lines += _nonconforming_lines(record)
    if survey.rejected:
        lines.append("rejected CAs (no certificate of these is admitted):")
        lines += [f"  {printable(one.authority.subject)}, key {one.authority.spki_sha256}" for one in survey.rejected]
    if survey.denied:
        lines.append("denied:")
        for denial in survey.denied:
            kind, value = denial_parts(denial.denials)
            named = ", ".join(printable(certificate.subject) for certificate in denial.certificates)
            lines.append(f"  {kind} {value}: {named or 'no known CA; a signer with it is refused'}")
    if survey.oddities:
        lines.append("odd certificates (documents are still accepted):")
        lines += [f"  {printable(oddity)}" for oddity in survey.oddities]
    return "\n".join(lines) + "\n"


def _feed_lines(feed: FeedStatus) -> list[str]:
    if not (feed.source or feed.in_force or feed.offer or feed.rejected or feed.unreadable):
        return []
    checked = "never" if feed.checked_at is None else moment_json(feed.checked_at)
    lines = [f"trust feed {printable(feed.source) or '(none in the settings)'}, mode {feed.mode}:"]
    lines.append(f"  last successful look: {checked}")
    if feed.problem:
        lines.append(f"{_ATTENTION}the last look failed: {printable(feed.problem)}")
    if feed.unreadable:
        lines.append(f"{_ATTENTION}not used: {printable(feed.unreadable)}")
    elif feed.in_force is None:
        lines.append("  no version is in force")
    else:
        lines.append(f"  version {feed.in_force.version} is in force, expires {moment_json(feed.in_force.expires_at)}")
        lines += [f"      without effect: {printable(one)}" for one in feed.ignored]
    if feed.offer is not None:
        version = feed.offer.bundle.version
        until = moment_json(feed.offer.bundle.expires_at)
        lines.append(f"{_ATTENTION}version {version} waits for approval, expires {until}:")
        lines += [f"      {printable(str(change))}" for change in feed.offer.changes]
        lines += [f"      without effect: {printable(one)}" for one in feed.offer.ignored]
        lines += [f"      needs approval: {printable(one)}" for one in feed.offer.reasons]
        lines += ["      to put it in force, run:", f"      imds-verifier trust update --approve {version}"]
        lines += ["      to reject it, run:", f"      imds-verifier trust update --reject {version}"]
    if feed.rejected is not None:
        by, at = printable(feed.rejected.decided_by), moment_json(feed.rejected.decided_at)
        lines.append(f"  {by} rejected version {feed.rejected.version} at {at}")
    return lines


def list_text(survey: TrustSurvey) -> str:
    """Format every certificate of the bundle with its state, one per line."""
    rows = [("STATE", "ORIGIN", "ROLE", "UNTIL", "SHA-256", "SUBJECT", "CLOUDS")]
    surveyed = [one for cloud in survey.clouds for one in (*cloud.anchors, *cloud.pins)]
    chainable = {one.entry.certificate.sha256 for one in surveyed if one.chainable}
    denied = {one.entry.certificate.sha256 for one in surveyed if one.denied}
    for entry in survey.entries:
        certificate = entry.certificate
        state = entry.state_at(survey.at)
        label = state.value
        if certificate.sha256 in denied:
            label = "denied"
        elif state.is_usable and certificate.sha256 not in chainable:
            label = f"{state.value}, no chain"
        rows.append(
            (
                label,
                entry.origin.value,
                entry.role.value,
                moment_json(entry.usable_until),
                certificate.sha256,
                printable(certificate.subject),
                _clouds(entry.clouds),
            )
        )
    return table_text(rows)


def table_text(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def _issuer_lines(surveyed: SurveyedIssuer) -> list[str]:
    issuer, observation = surveyed.issuer, surveyed.issuer.observation
    lines = [
        f"{_ATTENTION}{printable(observation.issuer)} ({observation.cloud.value}): {surveyed.review_status.value}",
        f"      {issuer.documents} documents, {moment_json(issuer.first_seen)} to {moment_json(issuer.last_seen)}",
        f"      key identifier {observation.authority_key_identifier or '(none)'}",
    ]
    lines += [f"      unverified location from the document: {printable(url)}" for url in observation.issuer_urls]
    for authority in surveyed.authorities:
        certificate = authority.certificate
        until = moment_json(certificate.not_after)
        lines += [
            f"      checked: {printable(certificate.subject)}, until {until}, {authority.review_status.value}",
            f"        SHA-1, to compare with Azure's page: {sha1_of(certificate)}",
        ]
    if surveyed.review_status is ReviewStatus.UNRESOLVED:
        lines += [
            "      get its certificate from Azure's page of certificate authorities, not from the document. Then run:",
            f"      imds-verifier trust add FILE --cloud {observation.cloud.value}",
        ]
    else:
        sha256 = surveyed.authorities[0].certificate.sha256
        lines += [
            "      compare it with Azure's page of certificate authorities. If it matches, run:",
            f"      imds-verifier trust approve {sha256}",
            "      if it is not on the page, run:",
            f"      imds-verifier trust reject {sha256}",
        ]
    return lines


def _nonconforming_lines(record: NonconformingRecord) -> list[str]:
    document = record.document
    return [
        f"{_ATTENTION}{printable(document.issuer)} ({_clouds(document.clouds)}): {printable(document.detail)}",
        f"      {record.documents} documents, {moment_json(record.first_seen)} to {moment_json(record.last_seen)}",
        f"      the last has the SHA-256 {document.document_sha256}, its signer {document.signer_sha256}",
        "      compare it with Azure's documentation, and report it (docs/operate/ca-rotation.md)",
    ]


def _horizon(cloud: SurveyedCloud, at: datetime) -> str:
    if cloud.closed:
        return "closed: only archived documents are appraised"
    if cloud.horizon is None:
        state = "NO USABLE CHAIN: every document of this cloud is refused"
    else:
        state = f"holds until {moment_json(cloud.horizon)} ({_days(cloud.horizon, at)})"
    return state if cloud.served else f"not served (VERIFIER_CLOUDS): {state}"


def _days(moment: datetime, at: datetime) -> str:
    days = (moment - at).days
    return f"{days} day" if days == 1 else f"{days} days"


def _clouds(clouds: Iterable[Cloud]) -> str:
    return ", ".join(sorted(clouds))
