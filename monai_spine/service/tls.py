"""TLS with certificates on both sides, after the profile of DICOM (PS3.15 B.9: TLS 1.2 or newer)."""

from __future__ import annotations

import ssl

from monai_spine.errors import InvalidOptionError
from monai_spine.service.configuration import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """For a server, which lets in whoever has a certificate of the authority.

    Raises
    ------
    InvalidOptionError
        If a file is no certificate or key, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _loaded(context, tls)


def client_context(tls: Tls) -> ssl.SSLContext:
    """For a client, which compares the server's name with its certificate.

    Raises
    ------
    InvalidOptionError
        If a file is no certificate or key, or they do not belong together.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tls)


def _loaded(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        file = tls.authority
        context.load_verify_locations(file)
        if tls.certificate is not None:
            file = tls.certificate
            # An empty password: a key that needs one is an error, and no question to a terminal that nobody watches.
            context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise InvalidOptionError(
            f"{file}: expected certificates and a key in PEM that belong together ({reason})"
        ) from error
    return context
