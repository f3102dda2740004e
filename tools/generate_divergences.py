"""Print docs/understand/divergences.md: the intended differences of the chain check. `make generate` writes the page.

DIFFERENCES lists each intended difference from x509-limbo. `tools/run_limbo.py` fails on any other one. CHAIN_CASES
lists each one in the project's own chain cases. tests/unit/test_chain_cases.py fails on any other one.
"""

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ACCEPT, REFUSE = "accept", "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One kind of difference, with the ids of its cases. `ours` is the decision of the chain check."""

    why: str
    ours: str
    explanation: str
    cases: tuple[str, ...]


DIFFERENCES: Final = (
    Difference(
        why="anchor",
        ours=REFUSE,
        explanation=(
            "Only a self-issued certificate can be an anchor. One that another CA issued is a pin, so its "
            "issuer must be trusted too."
        ),
        cases=(
            "cve::cve-2024-0567",
            "rfc5280::root-and-intermediate-swapped",
        ),
    ),
    Difference(
        why="serial number",
        ours=REFUSE,
        explanation=(
            "The root has the serial number 0, which RFC 5280 4.1.2.2 forbids. The trust bundle refuses to "
            "load it. No CA that signs for Azure has one."
        ),
        cases=("online::fastly.com",),
    ),
    Difference(
        why="path length",
        ours=REFUSE,
        explanation=(
            "The first path validator counts self-issued CAs towards a path length. RFC 5280 4.2.1.9 does "
            "not. Azure's CAs have none between a root and a leaf."
        ),
        cases=("pathlen::self-issued-certs-pathlen",),
    ),
    Difference(
        why="CA as signer",
        ours=REFUSE,
        explanation="The leaf is a CA. A signer of documents must not be one.",
        cases=(
            "pathlen::validation-ignores-pathlen-in-leaf",
            "rfc5280::ca-as-leaf",
        ),
    ),
    Difference(
        why="no host name",
        ours=REFUSE,
        explanation=("The leaf has no host name. A signer needs one in the domain of its cloud."),
        cases=("rfc5280::nc::permitted-dn-match",),
    ),
    Difference(
        why="otherName",
        ours=REFUSE,
        explanation=(
            "The second path validator cannot read a name constraint on otherName, so it confirms no chain. "
            "No pinned CA has one."
        ),
        cases=("rfc5280::nc::nc-forbids-othername-noop",),
    ),
    Difference(
        why="end of validity",
        ours=REFUSE,
        explanation="The time is 5 ms after notAfter. A certificate ends at the instant that notAfter names.",
        cases=("rfc5280::validity::notafter-fractional",),
    ),
    Difference(
        why="fixed limit",
        ours=ACCEPT,
        explanation="The case gives the validator a shorter limit. The chain check has a fixed limit of four CAs.",
        cases=(
            "pathlen::max-chain-depth-0-exhausted",
            "pathlen::max-chain-depth-1-exhausted",
        ),
    ),
    Difference(
        why="pinned CA",
        ours=ACCEPT,
        explanation=("An oddity in the form of a pinned CA is a warning when it is loaded, and refuses no document."),
        cases=(
            "rfc5280::aki::intermediate-missing-aki",
            "rfc5280::ski::intermediate-missing-ski",
            "rfc5280::ski::root-missing-ski",
            "rfc5280::nc::permitted-dns-match-noncritical",
            "rfc5280::pc::ica-noncritical-pc",
            "webpki::aki::root-with-aki-all-fields",
            "webpki::aki::root-with-aki-authoritycertissuer",
            "webpki::aki::root-with-aki-authoritycertserialnumber",
            "webpki::aki::root-with-aki-ski-mismatch",
            "webpki::eku::root-has-eku",
            "webpki::forbidden-rsa-not-divisible-by-8-in-root",
        ),
    ),
    Difference(
        why="names",
        ours=ACCEPT,
        explanation=(
            "Only the CA/Browser Forum requires the common name among the alternative names. The check "
            "`signer-name` requires both in the domain of one cloud."
        ),
        cases=(
            "webpki::cn::case-mismatch",
            "webpki::cn::not-in-san",
            "webpki::cn::punycode-not-in-san",
            "webpki::cn::utf8-vs-punycode-mismatch",
        ),
    ),
    Difference(
        why="anyExtendedKeyUsage",
        ours=ACCEPT,
        explanation=("RFC 5280 4.2.1.12 permits anyExtendedKeyUsage beside serverAuth. Alone, it is refused."),
        cases=("webpki::eku::ee-anyeku",),
    ),
    Difference(
        why="no extendedKeyUsage",
        ours=ACCEPT,
        explanation="RFC 5280 4.2.1.12 makes the extension optional. If it is absent, it restricts no use.",
        cases=("webpki::eku::ee-without-eku",),
    ),
    Difference(
        why="key",
        ours=ACCEPT,
        explanation="The check `signature` refuses such a key as `algorithm-refused`.",
        cases=(
            "webpki::forbidden-dsa-leaf",
            "webpki::forbidden-p192-leaf",
            "webpki::forbidden-weak-rsa-in-leaf",
        ),
    ),
    Difference(
        why="RSA size",
        ours=ACCEPT,
        explanation="Only the CA/Browser Forum requires a multiple of 8. The check `signature` requires 2048 bits.",
        cases=("webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",),
    ),
    Difference(
        why="wildcard",
        ours=ACCEPT,
        explanation=(
            "RFC 5280 leaves wildcards to the application. The check `signer-name` requires a name in the "
            "domain of a cloud."
        ),
        cases=(
            "webpki::san::public-suffix-wildcard-san",
            "webpki::san::public-suffix-multi-label-wildcard-san",
            "webpki::san::public-suffix-private-namespace-wildcard-san",
        ),
    ),
)

CHAIN_CASES: Final = Path(__file__).parents[1] / "tests" / "data" / "chain-cases" / "divergences.toml"

_INTRODUCTION: Final = """\
# Differences of the chain check

`make generate` writes this page with [generate_divergences.py](../../tools/generate_divergences.py). Do not edit it.

## Differences from x509-limbo

[x509-limbo](https://x509-limbo.com) is a collection of certificate chains, each with the decision that a validator
should make. This section lists every case in which the chain check decides otherwise. The suite compares all cases, and
fails on any other difference:

```sh
.venv/bin/python tools/run_limbo.py tests/data/limbo/cases.json
```

- The operator chooses roots and intermediates. So the chain check refuses an unusual one only if a path validator does.
- The sender chooses the signer's certificate. `verifier/core/leaf_profile.py` has the rules for it, each with its
  clause of RFC 5280. It does not require what only the CA/Browser Forum asks for.
- The checks `signature` and `signer-name` come before the chain check.
"""

_OWN_CASES: Final = """\
## Differences in the chain cases

[tests/support/chain_cases](../../tests/support/chain_cases) has chains with one peculiarity each. Each has the decision
that RFC 5280, or a rule of this project, requires. Four decide each of them:

- `product`: every check of an archived document, which the signer's key has signed;
- `cryptography` and `certvalidator`: each path validator alone;
- `openssl`: `openssl verify -x509_strict -policy_check -purpose sslserver -auth_level 2 -verify_depth 3`.

The suite (`tests/unit/test_chain_cases.py`) fails on any difference that is not listed here, and on a listed one that
is gone.
"""

_TITLES: Final = {
    REFUSE: "Refused here, accepted by x509-limbo",
    ACCEPT: "Accepted here, refused by x509-limbo",
}

_OWN_TITLES: Final = {
    REFUSE: "Refused, and to be accepted",
    ACCEPT: "Accepted, and to be refused",
}


def listed_decisions() -> dict[str, tuple[str, str]]:
    """Return the decisions of x509-limbo and of the chain check for each listed case."""
    opposite = {ACCEPT: REFUSE, REFUSE: ACCEPT}
    return {case: (opposite[one.ours], one.ours) for one in DIFFERENCES for case in one.cases}


def generate() -> str:
    """Return the text of docs/understand/divergences.md."""
    parts = [_INTRODUCTION]
    for ours, title in _TITLES.items():
        rows = "".join(_row(one) for one in DIFFERENCES if one.ours == ours)
        parts.append(f"### {title}\n\n| why | explanation | cases |\n| --- | --- | --- |\n{rows}")
    own = tomllib.loads(CHAIN_CASES.read_text("utf-8"))["divergences"]
    parts.append(_OWN_CASES)
    for decision, title in _OWN_TITLES.items():
        rows = "".join(_own_row(one) for one in own if one["decision"] == decision)
        parts.append(f"### {title}\n\n| by | why | explanation | cases |\n| --- | --- | --- | --- |\n{rows}")
    return "\n".join(parts)


def _own_row(one: dict[str, str]) -> str:
    deciders, cases = (", ".join(f"`{name}`" for name in one[key]) for key in ("deciders", "cases"))
    return f"| {deciders} | {one['why']} | {one['explanation']} | {cases} |\n"


def _row(one: Difference) -> str:
    cases = ", ".join(f"`{case}`" for case in one.cases)
    return f"| {one.why} | {one.explanation} | {cases} |\n"


if __name__ == "__main__":
    sys.stdout.write(generate())
