"""NATS over TLS: what a client is given to trust, and in words what is wrong where it cannot."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from aperag_common.settings import NatsSettings

_OTHER_NAMES = "its certificate is for other names: use one of those in APERAG_NATS__URL"
_NO_TLS = (
    "it does not speak TLS from the first byte: turn that on with `tls {{ handshake_first: true }}`,"
    " or unset APERAG_NATS__TLS_CA"
)
_REASONS = {
    "Hostname mismatch": _OTHER_NAMES,
    "IP address mismatch": _OTHER_NAMES,
    "certificate has expired": "its certificate has expired: renew it",
    "certificate is not yet valid": "its certificate is not valid yet: look at the clocks of both machines",
    "CERTIFICATE_VERIFY_FAILED": "its certificate was not signed by {ca}: set APERAG_NATS__TLS_CA to who signed it",
    "ALERT": "it does not accept this service: set APERAG_NATS__TLS_CERT and APERAG_NATS__TLS_KEY to what its CA signed",
}
"""By what OpenSSL says; the first that fits."""


class TlsRefused(ValueError):
    """There will be no connection until a person has changed a setting or a certificate."""


def context_of(settings: NatsSettings) -> ssl.SSLContext | None:
    """None where no setting asks for TLS; raises ``TlsRefused`` where a file is missing or none of its kind."""
    if settings.tls_ca is None and settings.tls_cert is None and settings.tls_key is None:
        return None
    if (settings.tls_cert is None) != (settings.tls_key is None):
        message = "APERAG_NATS__TLS_CERT and APERAG_NATS__TLS_KEY belong together: set both or neither"
        raise TlsRefused(message)
    context = _trusting(settings.tls_ca)
    if settings.tls_cert is not None and settings.tls_key is not None:
        _identify(context, settings.tls_cert, settings.tls_key)
    return context


def explained(err: ssl.SSLError, settings: NatsSettings) -> str:
    told = str(err)
    reason = next((text for sign, text in _REASONS.items() if sign in told), _NO_TLS)
    ca = settings.tls_ca or "a CA that this system knows"
    return f"No connection to NATS at {settings.url}: {reason.format(ca=ca)} ({told})"


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as err:
        message = f"APERAG_NATS__TLS_CA must be a readable PEM file with certificates, and {ca} is not: {err}"
        raise TlsRefused(message) from err


def _identify(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # A key that wants a password must not make a service ask for it.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ssl.SSLError) as err:
        message = (
            f"APERAG_NATS__TLS_CERT ({certificate}) and APERAG_NATS__TLS_KEY ({key}) must be readable PEM files, the"
            f" key without a password and belonging to the certificate: {err}"
        )
        raise TlsRefused(message) from err
