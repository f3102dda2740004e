"""Describe each setting once, for docs/operate/settings.md and for the starter file of `imds-verifier config init`."""

from collections.abc import Mapping

from verifier.core.values import dataclass

_CLOUDS = "names of clouds, with commas between them (a list in the file)"
_PEM = "a PEM file"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingText:
    """The texts of one setting, in Markdown. `summary` is one sentence and names the unit; `more` is for the page only.

    `default` describes a default that is no plain value. `example` is a value in TOML for the starter file, if the
    default cannot be written there.
    """

    allowed: str
    summary: str
    more: str = ""
    default: str = ""
    example: str = ""


#: The settings, in the order of `Settings`.
REFERENCE: Mapping[str, SettingText] = {
    "trust_dir": SettingText(
        allowed="a directory",
        summary="The directory that adds to the shipped trust bundle or replaces it.",
        more="[Its form](ca-rotation.md#trust-directory). A change is in force without a restart.",
        example='"/etc/imds-verifier/trust"',
    ),
    "clouds": SettingText(
        allowed=_CLOUDS,
        summary="The clouds whose documents the service accepts.",
        more="Documents of another cloud are refused as `chain-untrusted`. `imds-verifier verify --at` appraises "
        "archived documents of every cloud. Readiness, horizons and alerts cover served clouds that are not closed.",
    ),
    "discovery": SettingText(
        allowed="`pinned`, `observe`, `admit`",
        summary="What the service does about an issuer that has no pin.",
        more="[CA rotation](ca-rotation.md) compares them.",
    ),
    "trust_refresh_seconds": SettingText(
        allowed="0.2 to 60",
        summary="How often a worker looks at the trust directory, the settings file and operators' decisions, in "
        "seconds.",
    ),
    "trust_feed": SettingText(
        allowed="an https URL without credentials, or an absolute path of a directory",
        summary="The trust feed at which the service looks for new trust.",
        more="[trust-feed.md](trust-feed.md).",
        default="none (the service follows no feed)",
        example='"https://feed.example/trust"',
    ),
    "trust_feed_mode": SettingText(
        allowed="`propose`, `apply`",
        summary="Whether an operator approves each version of the feed (`propose`), or a new version is in force at "
        "once (`apply`).",
        more="With `apply`, an operator still approves a version that changes anchors or shortens the chains of a "
        "cloud.",
    ),
    "trust_feed_root": SettingText(
        allowed="a file",
        summary="The root metadata (TUF) of the feed that you trust at first.",
        more="The service reads it at each look.",
        default="none (the root that the release ships, if it ships one)",
        example='"/etc/imds-verifier/feed/root.json"',
    ),
    "trust_feed_clouds": SettingText(
        allowed=_CLOUDS,
        summary="The clouds that may follow the feed.",
        default="none (those of `VERIFIER_CLOUDS`)",
        example='["AzurePublicCloud"]',
    ),
    "trust_feed_seconds": SettingText(
        allowed="1 to 86400", summary="How often one of all replicas looks at the feed, in seconds."
    ),
    "trust_feed_ca_file": SettingText(
        allowed=_PEM,
        summary="The authorities that may sign the certificate of a feed over https.",
        default="none (the authorities of the system)",
        example='"/etc/imds-verifier/feed/ca.pem"',
    ),
    "nonce_store": SettingText(
        allowed="`sqlite:///path` with the absolute path `/path`, such as "
        "`sqlite:///var/lib/verifier/nonces.sqlite3`, or a "
        "Redis: `redis://host:port/db`, `rediss://…` (TLS), `unix:///path`, `redis+sentinel://…`, `redis+cluster://…` "
        "([Redis](redis.md))",
        summary="The store of nonces, and of what operators decided about trust.",
        more="The default is `$XDG_STATE_HOME/imds-verifier/nonces.sqlite3`, or the same under `~/.local/state`. "
        "[More SQLite files](redis.md#sqlite) are beside it: `nonces-trust.sqlite3`, "
        "`nonces-rates.sqlite3`, "
        "`nonces-outstanding.sqlite3`, and `nonces-decisions.sqlite3` unless `VERIFIER_DECISION_STORE` names another "
        "store.",
        default="SQLite in the state directory",
        example='"sqlite:///var/lib/imds-verifier/nonces.sqlite3"',
    ),
    "nonce_wait_replicas": SettingText(
        allowed="0 to 16",
        summary="How many replicas of a Redis must have a redemption, or a decision about trust, before it counts.",
        more="Otherwise the answer is 503: [Redis](redis.md#failover).",
    ),
    "nonce_wait_seconds": SettingText(allowed="0.01 to 1.5", summary="How long these replicas may take, in seconds."),
    "redis_password": SettingText(
        allowed="a text",
        summary="The password for the Redis of `VERIFIER_NONCE_STORE`, if its URL has none; better in the file that "
        "`VERIFIER_REDIS_PASSWORD_FILE` names.",
        more="The URL may have a username. Another Redis in `VERIFIER_DECISION_STORE` does not get this password.",
        example='"change-me"',
    ),
    "redis_ca_file": SettingText(
        allowed=_PEM,
        summary="The only authorities that may sign the certificate of a Redis over TLS.",
        default="none (the authorities of the system)",
        example='"/etc/imds-verifier/redis/ca.pem"',
    ),
    "redis_certificate_file": SettingText(
        allowed=_PEM,
        summary="The certificate that the service shows to a Redis over TLS.",
        example='"/etc/imds-verifier/redis/client.pem"',
    ),
    "redis_key_file": SettingText(
        allowed=_PEM,
        summary="The key of that certificate, without a passphrase.",
        example='"/etc/imds-verifier/redis/client.key"',
    ),
    "redis_sentinel_username": SettingText(
        allowed="a name",
        summary="The username for Sentinels, which have credentials of their own.",
        example='"verifier"',
    ),
    "redis_sentinel_password": SettingText(
        allowed="a text",
        summary="The password for Sentinels; better in the file that `VERIFIER_REDIS_SENTINEL_PASSWORD_FILE` names.",
        example='"change-me"',
    ),
    "nonce_form": SettingText(
        allowed="`digits-10`, `alphanumeric-32`", summary="The form of nonces: 10 digits, or 32 letters and digits."
    ),
    "nonce_mode": SettingText(
        allowed="`required`, `optional`",
        summary="Whether each document must answer a nonce of the service.",
        more="`optional`: a document that carries none, or the one that IMDS adds by itself, is accepted once and "
        "remembered until it expires; [what that leaves open](../understand/threat-model.md#out-of-scope).",
    ),
    "nonce_lifetime_seconds": SettingText(
        allowed="10 to 3600", summary="How long after its issue a nonce can be redeemed, in seconds."
    ),
    "clock_skew_seconds": SettingText(
        allowed="0 to 600", summary="How far the clocks of Azure and of this service may differ, in seconds."
    ),
    "maximum_age_seconds": SettingText(
        allowed="60 to 604800", summary="How old a document may be, from its createdOn, in seconds."
    ),
    "maximum_body_bytes": SettingText(
        allowed="4096 to 1048576", summary="The largest request body that the service reads, in bytes."
    ),
    "host": SettingText(allowed="an address", summary="The address on which the service listens."),
    "port": SettingText(allowed="0 to 65535", summary="The port of the service; 0 is any free one."),
    "allow_open_listening": SettingText(
        allowed="true, false",
        summary="Permits another host than loopback without tenants: each client that reaches the service may then "
        "use it.",
    ),
    "pages": SettingText(
        allowed="true, false",
        summary="Whether the service serves pages for people: an inspector of documents, decisions, and trust.",
        more="Open `/` in a browser. They ask the HTTP API with the key that you type in.",
        default="true if `VERIFIER_HOST` is loopback, otherwise false",
        example="true",
    ),
    "trusted_proxies": SettingText(
        allowed="0 to 16",
        summary="The number of proxies in front that add the address of their peer to `X-Forwarded-For`.",
        more="The limits of agent keys need it: [proxies in front](install.md#proxies-in-front). 0: the address of the "
        "connection counts, and forwarding headers are ignored.",
    ),
    "workers": SettingText(allowed="1 to 64", summary="The number of worker processes."),
    "worker_connections": SettingText(
        allowed="16 to 65536",
        summary="How many connections a worker has at once.",
        more="Beyond that, it closes those that have kept it waiting longest.",
    ),
    "redis_connections": SettingText(
        allowed="1 to 256",
        summary="How many connections a worker holds to each Redis server.",
        more="If none is free for 2 s, the answer is 503.",
    ),
    "request_seconds": SettingText(
        allowed="1 to 600",
        summary="How long a caller may take to send one request, and to read its answer, in seconds.",
        more="A slower request ends: [connections](install.md#connections).",
    ),
    "keep_alive_seconds": SettingText(
        allowed="1 to 7200",
        summary="How long a connection may be idle between two requests, in seconds.",
        more="Set it above the idle time of the balancer in front: [connections](install.md#connections).",
    ),
    "graceful_stop_seconds": SettingText(
        allowed="1 to 600", summary="How long requests in flight may take after SIGTERM or SIGINT, in seconds."
    ),
    "metrics_port": SettingText(
        allowed="0 to 65535",
        summary="A separate port for `/metrics`, `/healthz` and `/readyz`; 0 is any free one.",
        more="It also answers while callers take every connection of the service's port, which then has no `/metrics`.",
        example="9090",
    ),
    "metrics_host": SettingText(allowed="an address", summary="The address on which that port listens."),
    "log_level": SettingText(
        allowed="`info`, `warning`",
        summary="The lowest level of log lines.",
        more="`warning` omits the line `answered` of each request, and successful reloads. It never omits `decided`.",
    ),
    "otlp_endpoint": SettingText(
        allowed="the base URL of a collector, without credentials",
        summary="The collector that receives OpenTelemetry spans of requests, by OTLP over HTTP.",
        more="It needs the extra `imds-verifier[otel]`: [traces](monitoring.md#traces).",
        example='"http://127.0.0.1:4318"',
    ),
    "decision_store": SettingText(
        allowed="a URL like that of `VERIFIER_NONCE_STORE`, or `none`",
        summary="The store of decisions; with `none`, no decisions are kept.",
        more="On SQLite, decisions are in a separate file: [decision records](decisions.md#records).",
        default="the store of the nonces",
        example='"sqlite:///var/lib/imds-verifier/decisions.sqlite3"',
    ),
    "decision_bytes": SettingText(
        allowed="1048576 to 1099511627776", summary="How many bytes of decisions the store keeps of each tenant."
    ),
    "audit_required": SettingText(
        allowed="true, false", summary="If true, each appraisal is kept before its answer, or the answer is 503."
    ),
    "policies": SettingText(
        allowed="tables in the file",
        summary="Named policies; the file is followed, so that a change is in force without a restart.",
        more="[Policies](../integrate/policies.md) has every rule.",
    ),
    "token_keys_dir": SettingText(
        allowed="a directory",
        summary="The directory of the keys that sign results; without it, results are not signed.",
        more="[Result tokens](../integrate/tokens.md). A change is in force without a restart.",
        example='"/etc/imds-verifier/keys"',
    ),
    "token_issuer": SettingText(
        allowed="a URL or name",
        summary="The `iss` of result tokens; needed with keys.",
        example='"https://verifier.example"',
    ),
    "token_audience": SettingText(
        allowed="a name",
        summary="The `aud` of all result tokens; without it, the tenant's name.",
        more="If several tenants share one, the service warns at start: [tokens](../integrate/tokens.md#checking-one).",
        example='"licensing.example"',
    ),
    "token_lifetime_seconds": SettingText(
        allowed="30 to 86400",
        summary="How long a result token is valid, in seconds, but never longer than its document.",
    ),
    "pkcs11_module": SettingText(
        allowed="an absolute path of a file",
        summary="The PKCS#11 library of the HSM or KMS that has signing keys.",
        more="[keys in an HSM](../integrate/tokens.md#a-key-in-an-hsm-or-a-kms).",
        default="none (signing keys are PEM files)",
        example='"/usr/lib/softhsm/libsofthsm2.so"',
    ),
    "pkcs11_pin": SettingText(
        allowed="text",
        summary="The PIN of a user of the token; better in the file that `VERIFIER_PKCS11_PIN_FILE` names.",
        more="Without it, the service does not log in. Each worker tries a PIN once: a refused PIN needs a restart.",
        example='"the PIN"',
    ),
    "pkcs11_sessions": SettingText(
        allowed="1 to 64",
        summary="How many signatures one worker asks an HSM for at once.",
    ),
    "admin_keys": SettingText(
        allowed="names, each with the SHA-256 of its key",
        summary="Who may see and change trust over HTTP; followed, as policies are.",
        more="[Trust over HTTP](ca-rotation.md#over-http).",
        default="none (no caller may)",
    ),
    "tenants": SettingText(
        allowed="tables in the file",
        summary="Who may ask for nonces and verdicts; followed, as policies are.",
        more="Without tenants, any client that reaches the service may: [the example](#tenants).",
    ),
}

#: An example of each table, in TOML. The page and the starter file show it.
TABLES: Mapping[str, str] = {
    "policies": """\
[policies.gold]                      # a document must satisfy every rule
clouds = ["AzurePublicCloud"]
publishers = ["contoso"]             # of the Marketplace plan
requirePlan = true
maximumAgeSeconds = 3600             # seconds since the document's createdOn
""",
    "admin_keys": """\
[admin_keys]                         # NAME = SHA-256 of its key, which `imds-verifier api-key` prints
operator = "1111111111111111111111111111111111111111111111111111111111111111"
""",
    "tenants": """\
[tenants.contoso]
keys = ["2222222222222222222222222222222222222222222222222222222222222222"]   # SHA-256 of backend keys; up to 16
policy = "default"                   # the policy of its documents; "default" without a table allows every document
rate = "6000/minute"                 # requests with these keys; without it, no limit
""",
    "agent_keys": """\
[tenants.fabrikam]
keys = ["3333333333333333333333333333333333333333333333333333333333333333"]
agent_keys = ["4444444444444444444444444444444444444444444444444444444444444444"]   # `imds-verifier api-key --agent`
agent_address_rate = "600/minute"    # requests of one source address, for nonces and for attestations each
agent_vm_rate = "30/minute"          # documents of one VM
agent_address_nonces = 500           # outstanding nonces of one source address
agent_nonces = 20000                 # outstanding nonces of all agents of the tenant; at most 1,000,000
""",
}
