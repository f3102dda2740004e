"""Print docs/operate/settings.md from the code. `make generate` writes it.

The texts and examples come from `verifier.adapters.settings.reference`, as those of `imds-verifier config init` do.
"""

import sys

from verifier.adapters.settings.reference import REFERENCE, TABLES
from verifier.adapters.settings.settings import PREFIX
from verifier.adapters.settings.starter import default_text

_INTRODUCTION = """\
# Settings

Environment variables override the TOML file that `VERIFIER_CONFIG` names, and the file overrides the defaults. In the
file, a setting has no prefix and is in lower case: `VERIFIER_NONCE_STORE` is `nonce_store`. The service refuses to
start with an unknown or invalid setting, and names it.

```sh
imds-verifier config init verifier.toml              # a file with every setting, to start with; it overwrites no file
imds-verifier config check verifier.toml             # invalid settings, with the line; it reads no directory
imds-verifier serve --print-settings                 # the settings in force, with secrets masked
```

A store's URL may hold a password: `VERIFIER_NONCE_STORE_FILE` names a file that holds the URL, such as a mounted
secret. The file may have `format = 1`, [the format of this file](../understand/formats.md). It is not a setting.

The service follows policies, tenants, admin keys, and the contents of `VERIFIER_TRUST_DIR` and
`VERIFIER_TOKEN_KEYS_DIR` while it runs: [change keys and settings](install.md#change-keys-and-settings). All other
settings count from the start.

`make generate` writes this page with [generate_settings.py](../../tools/generate_settings.py). Do not edit it.

| setting | default | allowed | what it does |
| --- | --- | --- | --- |
"""

_TABLES = """
In the file, tables follow all other settings. A variable holds a table as JSON.
"""

_POLICIES = """
## Policies

```toml
{policies}```

[Policies](../integrate/policies.md) has every rule, and how rules combine.

## Admin keys

```toml
{admin_keys}```

## Tenants

```toml
{tenants}```

`imds-verifier api-key` makes a key and prints its SHA-256. Workers take rates from 10,000 on
[in batches](../integrate/http.md#authentication-and-limits).

## Agent keys

A tenant has two kinds of keys. `keys` are *backend keys*: secrets of the relying party. `agent_keys` are *agent keys*:
they may be on customers' VMs, so they count as public. An agent key can only get nonces and post documents. Each
customer has limits of its own, which never count against the tenant's `rate`. These limits cannot be turned off.

```toml
{agent_keys}```

The values of the limits are the defaults. A source address is an IPv4 address or the /64 of an IPv6 address. An IPv4
address inside an IPv6 address (mapped, translated by NAT64 with the well-known prefix
64:ff9b::/96, or 6to4) counts as IPv4. If many VMs share one address
(NAT), raise `agent_address_rate` and `agent_address_nonces`. A VM is counted when the nonce of its document was
redeemed. A nonce is outstanding until it is redeemed or expires: [what agents can leave in the
store](redis.md#nonces).
"""


def page() -> str:
    """Return the page."""
    cells = (
        (f"`{PREFIX}{name.upper()}`", default_text(name), text.allowed, f"{text.summary} {text.more}".strip())
        for name, text in REFERENCE.items()
    )
    rows = [f"| {' | '.join(row)} |" for row in cells]
    return _INTRODUCTION + "\n".join(rows) + "\n" + _TABLES + _POLICIES.format(**TABLES)


if __name__ == "__main__":
    sys.stdout.write(page())
