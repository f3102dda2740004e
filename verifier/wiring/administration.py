"""Open what commands read and change: the trust registry, the decisions, and the keys that sign results."""

import os
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from verifier import startup
from verifier.adapters.clock import SystemClock
from verifier.adapters.settings.settings import SettingsError, load_settings
from verifier.adapters.settings.text import mask_url
from verifier.adapters.stores.factory import MissingStoreError, open_registry
from verifier.adapters.telemetry.log import LogRecorder, configure_logging
from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.adapters.tokens.pkcs11_library import Pkcs11Error
from verifier.adapters.tokens.pkcs11_sessions import Pkcs11Options, Pkcs11Sessions
from verifier.adapters.tokens.pkcs11_uri import Pkcs11Uri
from verifier.adapters.tokens.signers import Pkcs11Key
from verifier.adapters.trust.files import load_directory, shipped_directory
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.cli.commands import UsageError
from verifier.cli.decisions import OpenDecisions
from verifier.cli.trust import OpenTrust
from verifier.core.discovery import DiscoveryMode
from verifier.ports.tokens import TokenKeyAdministration, TokenKeyError
from verifier.startup import pkcs11_options, redis_options
from verifier.usecases.decisions import Decisions
from verifier.usecases.trust_administration import TrustAdministration
from verifier.usecases.trust_feed import TrustFeed
from verifier.wiring.feeds import create_feed, open_client


def open_trust(*, create: bool) -> OpenTrust:
    """Open the store and the trust directory that the settings name, for the command line: without a service.

    Raises UsageError if the store does not exist and `create` is not set.
    """
    configure_logging()
    settings = load_settings()
    url = settings.nonce_store.get_secret_value()
    store = mask_url(url)
    try:
        registry = open_registry(url, create=create, options=redis_options(settings, url))
    except MissingStoreError as error:
        raise UsageError(
            f"the store {store} does not exist ({error}). Give this command the service's settings: "
            "VERIFIER_NONCE_STORE or VERIFIER_CONFIG. To create the store, add --create"
        ) from error
    except ValueError as error:
        raise SettingsError(f"nonce_store: {error}") from error
    recorder, clock = LogRecorder(), SystemClock()
    trust = LiveTrust(
        settings.trust_dir,
        registry,
        admit=settings.discovery is DiscoveryMode.ADMIT,
        recorder=recorder,
        feed_clouds=settings.clouds_of_feed,
    )
    administration = TrustAdministration(
        trust=trust, registry=registry, recorder=recorder, clock=clock, served=settings.clouds
    )

    def open_feed(source: str | None, root: Path | None) -> TrustFeed:
        place = source or settings.trust_feed
        if place is None:
            raise UsageError("the settings name no feed: add --from, or set VERIFIER_TRUST_FEED")
        return replace(feed, client=open_client(settings, place, root=root))

    feed = create_feed(settings, administration, registry=registry, recorder=recorder, clock=clock)
    return OpenTrust(
        administration=administration,
        feed=feed,
        open_feed=open_feed,
        store=store,
        trust_directory=str(settings.trust_dir or shipped_directory()),
        load_directory=load_directory,
    )


def open_decisions() -> OpenDecisions:
    """Open the decision store that the settings name, which must exist. Raises UsageError and StoreUnavailable."""
    settings = load_settings()
    url = settings.decision_url
    if url is None:
        raise UsageError("the settings keep no decisions: VERIFIER_DECISION_STORE is none")
    place = mask_url(url)
    try:
        store, _ = startup.open_decisions(settings, required=True, create=False)
    except MissingStoreError as error:
        raise UsageError(
            f"the store {place} does not exist ({error}). Give this command the service's settings: "
            "VERIFIER_DECISION_STORE, VERIFIER_NONCE_STORE or VERIFIER_CONFIG"
        ) from error
    if store is None:
        raise UsageError("the settings keep no decisions")
    return OpenDecisions(decisions=Decisions(store=store), store=place)


def create_key_administration(directory: Path | None) -> TokenKeyAdministration:
    """Open the token keys in `directory`, or in the directory that the settings name. Raises SettingsError."""
    if not hasattr(os, "geteuid"):
        raise SettingsError("on this system `keys` cannot check who can read a key: run it on the host of the service")
    settings = load_settings()
    keys_dir = directory or settings.token_keys_dir
    if keys_dir is None:
        raise SettingsError("token_keys_dir: set it, or name a directory with --dir")
    options = pkcs11_options(settings)
    return TokenKeyDirectory(
        keys_dir,
        clock=SystemClock(),
        token_lifetime=timedelta(seconds=settings.token_lifetime_seconds),
        refresh=timedelta(seconds=settings.trust_refresh_seconds),
        read_token=None if options is None else partial(_read_token, options),
    )


def _read_token(options: Pkcs11Options, uri: Pkcs11Uri) -> Pkcs11Key:
    """Read the public key of a key in a token and prove the pair. Raises TokenKeyError."""
    sessions = Pkcs11Sessions(options)
    try:
        return sessions.read_key(uri)
    except Pkcs11Error as error:
        raise TokenKeyError(str(error)) from error
    finally:
        sessions.close()
