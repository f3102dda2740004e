"""Generate the temporary authorities of the vectors, and the trust directory that lists them."""

import json
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.certificates import make_authority
from support.documents import NOW, around, shared_pki

from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

RETIRED_AT: Final = datetime(2026, 10, 1, tzinfo=UTC)
#: When Azure Germany closed, as in the shipped manifest.
CLOSED_AT: Final = datetime(2021, 10, 29, 23, 59, 59, tzinfo=UTC)
STAGED_UNTIL: Final = datetime(2027, 2, 1, tzinfo=UTC)
#: The edges of the hour in which one authority is active by the manifest.
ACTIVE_FROM: Final = NOW - timedelta(hours=1)
ACTIVE_UNTIL: Final = NOW
#: The real authorities of the real document in the vectors, in the shipped trust.
_REAL: Final = (
    "roots/digicert-global-root-g2.pem",
    "intermediates/microsoft-tls-rsa-root-g2-xsign.pem",
    "intermediates/microsoft-tls-g2-rsa-ca-ocsp-02.pem",
)
_SHIPPED: Final = Path(__file__).parents[2] / "trust_roots"
_PAST: Final = pki.Validity(
    not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Describe one entry of the manifest."""

    name: str
    identity: pki.Identity
    clouds: tuple[Cloud, ...]
    note: str
    activate_at: datetime | None = None
    retire_at: datetime | None = None

    @property
    def is_root(self) -> bool:
        return self.identity.certificate.subject == self.identity.certificate.issuer

    @property
    def file(self) -> str:
        return f"{'roots' if self.is_root else 'intermediates'}/{self.name}.pem"

    def lines(self) -> list[str]:
        lines = [
            "",
            "[[certificates]]",
            f'file = "{self.file}"',
            f'sha256 = "{self.identity.certificate.fingerprint(SHA256()).hex()}"',
            f'role = "{"root" if self.is_root else "intermediate"}"',
            f"clouds = {json.dumps([cloud.value for cloud in self.clouds])}",
            'source = "urn:imds-verifier:vectors"',
            f"note = {json.dumps(self.note)}",
        ]
        times = {"activate_at": self.activate_at, "retire_at": self.retire_at}
        return lines + [f"{name} = {moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in times.items() if moment]


def issuing_ca(cloud: Cloud) -> pki.Identity:
    """Return the pinned authority that issues the signers of a cloud."""
    return shared_pki().issuing_ca if cloud is Cloud.PUBLIC else entry(f"{_SLUGS[cloud]}-issuing").identity


def entry(name: str) -> Entry:
    return {found.name: found for found in entries()}[name]


_SLUGS: Final = {Cloud.US_GOVERNMENT: "us-government", Cloud.CHINA: "china", Cloud.GERMANY: "germany"}


@cache
def entries() -> tuple[Entry, ...]:
    return (*_clouds(), *_deep(), *_unusable(), *_restricted(), *_edges())


def _clouds() -> tuple[Entry, ...]:
    """Make an anchor and an issuing authority for each cloud, which sign accepted documents. Germany's are retired."""
    root = shared_pki().root
    found = [
        _public("root", root, "The anchor of the public cloud."),
        _public("issuing", shared_pki().issuing_ca, "Issues most signers of the vectors."),
        _public(
            "ecc-issuing",
            make_authority(issuer=root, name="Vectors ECC Issuing", key=pki.make_ec_key(ec.SECP384R1())),
            "P-384 under the RSA root.",
        ),
    ]
    for cloud, slug in _SLUGS.items():
        own_root = pki.make_root(
            subject=pki.make_name(f"Vectors Root {slug}"), key=_key(f"{slug}-root"), validity=around(days=3650)
        )
        issuing = _authority(f"{slug}-issuing", own_root)
        found += [
            replace(entry, retire_at=CLOSED_AT if cloud is Cloud.GERMANY else None)
            for entry in (
                Entry(name=f"{slug}-root", identity=own_root, clouds=(cloud,), note=f"The anchor of {cloud}."),
                Entry(
                    name=f"{slug}-issuing", identity=issuing, clouds=(cloud,), note=f"Issues the signers of {cloud}."
                ),
            )
        ]
    strayed = _authority("strayed-issuing", next(one.identity for one in found if one.name == "china-root"))
    found.append(_public("strayed-issuing", strayed, "Pinned for the public cloud; chains to China's anchor alone."))
    return tuple(found)


def _deep() -> tuple[Entry, ...]:
    """Make a chain of several levels."""
    found: list[Entry] = []
    issuer = shared_pki().root
    for level in range(1, 5):
        issuer = _authority(f"deep-{level}", issuer)
        found.append(_public(f"deep-{level}", issuer, f"With the anchor, {level + 1} authorities above a signer."))
    return tuple(found)


def _unusable() -> tuple[Entry, ...]:
    """Make unusable authorities, and a cross-signed one of whose two paths only one is valid."""
    root = shared_pki().root
    old_root = pki.make_root(subject=pki.make_name("Vectors Old Root"), key=_key("old-root"), validity=_PAST)
    return (
        _public("old-root", old_root, "An anchor that has expired."),
        _public("under-old-root", _authority("under-old-root", old_root), "Chains to the expired anchor alone."),
        _public("expired-issuing", _authority("expired-issuing", root, validity=_PAST), "Expired."),
        replace(
            _public("retired-issuing", _authority("retired-issuing", root), "Retired by the manifest."),
            retire_at=RETIRED_AT,
        ),
        replace(
            _public("staged-issuing", _authority("staged-issuing", root), "Staged by the manifest."),
            activate_at=STAGED_UNTIL,
        ),
        _public("crossed-direct", _authority("crossed", root), "One name and key, two issuers: this one's holds."),
        _public("crossed-old", _authority("crossed", old_root), "One name and key, two issuers: this one's expired."),
    )


def _restricted() -> tuple[Entry, ...]:
    """Make authorities that may not issue the certificates that they issue in the vectors."""
    root = shared_pki().root
    mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    elsewhere = x509.NameConstraints([x509.DNSName("example.com")], None)
    organisation = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, pki.ORGANISATION)
    excluding = x509.NameConstraints(None, [x509.DirectoryName(x509.Name([organisation]))])
    narrow = _authority("narrow", root, path_length=0)
    return (
        _public("mail-issuing", _authority("mail-issuing", root, extensions=[mail]), "Issues no TLS servers."),
        _public("bounded-issuing", _authority("bounded-issuing", root, extensions=[elsewhere]), "example.com alone."),
        _public(
            "excluding-issuing",
            _authority("excluding-issuing", root, extensions=[excluding]),
            "Excludes the organisation of the signers.",
        ),
        _public(
            "twin-excluding",
            _authority("twin", root, extensions=[excluding]),
            "Excludes the organisation of the signers. The next one has its name and key.",
        ),
        _public("twin", _authority("twin", root), "Has the name and key of the one before."),
        _public("narrow", narrow, "pathLenConstraint 0."),
        _public("under-narrow", _authority("under-narrow", narrow), "Under one that may have none under it."),
    )


def _edges() -> tuple[Entry, ...]:
    """Make an authority that is active for one hour, and an anchor of another cloud that issues signers itself."""
    cloud = Cloud.US_GOVERNMENT
    lone = pki.make_root(subject=pki.make_name("Vectors Lone Root"), key=_key("lone-root"), validity=around(days=3650))
    return (
        replace(
            _public("active-for-an-hour", _authority("active-for-an-hour", shared_pki().root), "Active for one hour."),
            activate_at=ACTIVE_FROM,
            retire_at=ACTIVE_UNTIL,
        ),
        Entry(
            name="us-government-lone-root",
            identity=lone,
            clouds=(cloud,),
            note=f"An anchor of {cloud} that issues signers itself.",
        ),
    )


def _public(name: str, identity: pki.Identity, note: str) -> Entry:
    return Entry(name=f"public-{name}", identity=identity, clouds=(Cloud.PUBLIC,), note=note)


def _authority(
    name: str,
    issuer: pki.Identity,
    *,
    validity: pki.Validity | None = None,
    path_length: int | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> pki.Identity:
    return make_authority(
        issuer=issuer,
        name=f"Vectors {name}",
        key=_key(name),
        validity=validity,
        path_length=path_length,
        extensions=extensions,
    )


@cache
def _key(_: str) -> pki.PrivateKey:
    return pki.make_rsa_key()


def write_trust(directory: Path) -> None:
    """Write an overlay that replaces the shipped trust (trust_roots/README.md). It contains no keys."""
    shutil.rmtree(directory, ignore_errors=True)
    lines = [
        "# Temporary authorities of the test vectors, without their keys; and those of a real document.",
        "format = 1",
        'mode = "replace"',
    ]
    for cloud in Cloud:
        anchors = [found.file for found in entries() if found.is_root and cloud in found.clouds]
        lines += ["", f"[clouds.{cloud.value}]", f'domain = "{cloud.domain}"', f"anchors = {json.dumps(anchors)}"]
    for found in entries():
        lines += found.lines()
        file = directory / found.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(found.identity.certificate.public_bytes(Encoding.PEM))
    (directory / "manifest.toml").write_text("\n".join((*lines, "")), encoding="utf-8")
    add_real_trust(directory)


def add_real_trust(directory: Path) -> None:
    """Add the real authorities that the directory does not have, with source and note of the shipped manifest."""
    manifest = directory / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    shipped = tomllib.loads((_SHIPPED / "manifest.toml").read_text(encoding="utf-8"))["certificates"]
    for entry in shipped:
        if entry["file"] not in _REAL or f'file = "{entry["file"]}"' in text:
            continue
        if entry["role"] == "root":
            text = _with_anchor(text, entry["file"], Cloud.PUBLIC)
        fields = {name: entry[name] for name in ("file", "sha256", "role", "clouds", "source", "note")}
        fields["clouds"] = [Cloud.PUBLIC.value]
        text += "\n".join(("", "[[certificates]]", *(f"{key} = {json.dumps(one)}" for key, one in fields.items()), ""))
        shutil.copyfile(_SHIPPED / entry["file"], directory / entry["file"])
    manifest.write_text(text, encoding="utf-8")


def _with_anchor(text: str, file: str, cloud: Cloud) -> str:
    """Return the manifest with one more anchor of the cloud."""
    anchors = f'[clouds.{cloud.value}]\ndomain = "{cloud.domain}"\nanchors = ["'
    if anchors not in text:
        raise ValueError(f"the manifest does not name the anchors of {cloud} as it is written here")
    return text.replace(anchors, f'{anchors}{file}", "')


def extend_trust(directory: Path) -> None:
    """Add the authorities of the shared PKI to an existing trust directory, in files with a number in their names.

    The authorities of `_restricted` and `_edges` that the directory does not have are added with them.
    """
    manifest = directory / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    number = text.count('file = "roots/public-root') + 1
    added = [
        _public(f"root-{number}", shared_pki().root, f"The anchor of the public cloud for addition {number - 1}."),
        _public(f"issuing-{number}", shared_pki().issuing_ca, f"Issues the signers of addition {number - 1}."),
    ]
    added += [found for found in (*_restricted(), *_edges()) if f'file = "{found.file}"' not in text]
    for found in added:
        if found.is_root:
            text = _with_anchor(text, found.file, found.clouds[0])
        text += "\n".join((*found.lines(), ""))
        (directory / found.file).write_bytes(found.identity.certificate.public_bytes(Encoding.PEM))
    manifest.write_text(text, encoding="utf-8")
