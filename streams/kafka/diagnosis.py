"""Why no broker answers, in one line with the setting that it comes from.

aiokafka tries one bootstrap server after the other, logs what each said and raises
``KafkaConnectionError("Unable to bootstrap from …")`` (aiokafka/client.py ``bootstrap``): the
reason is gone. So when a client could not start, the same steps are taken once more, one by one:
look the name up, connect, speak TLS, log in, ask for metadata. Nothing here survives a crash, and
no message holds a secret. What a wrong listener answers is not the same in every Java version, so a
suspicion (TLS here, none there) is settled by asking that listener again the other way.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from streams.settings import Settings, authority

STEP_SECONDS = 5.0
"""How long one server may take to answer one client."""

_PROTOCOL = "HOSO_SECURITY_PROTOCOL"
_NO_MECHANISM = "?"
_EXPIRED, _OTHER_NAME = 10, (62, 64)
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH."""


async def diagnose(settings: Settings, *, seconds: float = STEP_SECONDS) -> str:
    """Why no broker answers clients with these settings: one line that ends with the setting.

    Of several servers the first that fails is named. Every server has ``seconds``, all at the same
    time. Raises ``SettingsError`` for TLS files that cannot be read.
    """
    options = settings.client_options()
    servers = collect_hosts(options.pop("bootstrap_servers"), randomize=False)
    reasons = await asyncio.gather(
        *(_within(seconds, host, port, settings, options) for host, port, _family in servers)
    )
    for (host, port, _family), reason in zip(servers, reasons, strict=True):
        if reason is not None:
            return reason if len(servers) == 1 else f"{authority(host, port)}: {reason}"
    return "now one does, try again (HOSO_BROKERS)"


async def _within(
    seconds: float, host: str, port: int, settings: Settings, options: Mapping[str, Any]
) -> str | None:
    try:
        async with asyncio.timeout(seconds):
            return await _ask(host, port, settings, options)
    except TimeoutError:
        pass
    # Some servers wait for the rest of what they take for a request of their own protocol.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            if "SSL" not in settings.security_protocol:
                other = await _other_protocol(host, port, settings.security_protocol)
            else:
                other = await _plain(host, port, settings.security_protocol)
            if other is not None:
                return other
    return f"no answer within {seconds:g} s (HOSO_BROKERS)"


async def _ask(host: str, port: int, settings: Settings, options: Mapping[str, Any]) -> str | None:
    """What is wrong with this server, or None if it answers."""
    try:
        conn = await create_conn(host, port, **options)
        try:
            metadata = await conn.send(MetadataRequest([]))
        finally:
            conn.close()
    except (KafkaError, OSError, AssertionError) as error:  # aiokafka asserts its SCRAM answers
        return await _explain(host, port, settings, options, error)
    for _node, advertised, its_port, *_rack in metadata.brokers:
        reason = await _unreachable(advertised, its_port)
        if reason is not None:
            return (
                f"it answers, but sends clients on to {authority(advertised, its_port)}: {reason} "
                "(advertised.listeners of the broker)"
            )
    return None


async def _unreachable(host: str, port: int) -> str | None:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return _of_network(error, host)
    writer.close()
    return None


async def _explain(
    host: str, port: int, settings: Settings, options: Mapping[str, Any], error: BaseException
) -> str:
    """One line for what a connection or its first request ended with."""
    protocol = settings.security_protocol
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _of_certificate(cause, host)
        if isinstance(cause, SaslAuthenticationFailed):
            return (
                f"it refuses user {settings.sasl_username!r} with this password by "
                f"{settings.sasl_mechanism} (HOSO_SASL_USERNAME, HOSO_SASL_PASSWORD)"
            )
        if isinstance(cause, UnsupportedSaslMechanismError):
            offered = await _offered_mechanisms(host, port, options) or "no login"
            return f"it offers {offered}, not {settings.sasl_mechanism} (HOSO_SASL_MECHANISM)"
        if isinstance(cause, IllegalSaslStateError):
            return f"it wants no login, and {protocol} is one ({_PROTOCOL})"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError | ConnectionResetError):
        return f"{_of_network(error, host)} (HOSO_BROKERS)"
    # The server hung up, or said something else than was asked: does it speak another protocol?
    if (other := await _other_protocol(host, port, protocol)) is not None:
        return other
    if (refused := _of_alert(chain, settings)) is not None:
        return refused
    if "SASL" not in protocol and (offered := await _offered_mechanisms(host, port, options)):
        return f"it wants a login ({offered}), and {protocol} has none ({_PROTOCOL})"
    if "SSL" in protocol and settings.ssl_certfile is None:
        return "it ends the connection without a client certificate (HOSO_SSL_CERTFILE)"
    causes = "; ".join(dict.fromkeys(map(_words, chain)))
    return f"it ends the connection: {causes} (HOSO_BROKERS, {_PROTOCOL})"


async def _other_protocol(host: str, port: int, protocol: str) -> str | None:
    tls = await _speaks_tls(host, port)
    if "SSL" in protocol and not tls:
        return f"it does not speak TLS, and {protocol} does ({_PROTOCOL})"
    if "SSL" not in protocol and tls:
        return f"it speaks TLS, and {protocol} does not ({_PROTOCOL})"
    return None


def _of_network(error: OSError, host: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host name {host} cannot be resolved"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "connection refused"
    return error.strerror or _words(error)


def _of_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _OTHER_NAME:
        return f"its certificate is for other names than {host} (HOSO_BROKERS)"
    if error.verify_code == _EXPIRED:
        return "its certificate, or that of its CA, has expired (HOSO_SSL_CAFILE)"
    return f"its certificate is not trusted here: {error.verify_message} (HOSO_SSL_CAFILE)"


def _of_alert(chain: Sequence[BaseException], settings: Settings) -> str | None:
    """What the server has against our certificate, or None if it said nothing.

    With TLS 1.3 our side is done before the server has looked at our certificate, so its answer
    comes with the first read: an alert, or no more than the end of the connection.
    """
    reasons = [cause.reason or "" for cause in chain if isinstance(cause, ssl.SSLError)]
    alert = next((r.rpartition("ALERT_")[2] for r in reasons if "ALERT_" in r), "")
    said = alert.replace("_", " ").lower()
    if alert in ("PROTOCOL_VERSION", "INSUFFICIENT_SECURITY"):
        return f"no TLS version or cipher in common: {said} ({_PROTOCOL})"
    if alert and settings.ssl_certfile is None:
        return "it ends the connection without a client certificate (HOSO_SSL_CERTFILE)"
    if alert:
        return f"it refuses the client certificate: {said} (HOSO_SSL_CERTFILE)"
    return None


async def _plain(host: str, port: int, protocol: str) -> str | None:
    """As :func:`_other_protocol`, for a server that leaves a TLS greeting unanswered."""
    try:
        (await create_conn(host, port)).close()
    except (KafkaError, OSError):
        return None
    return f"it does not speak TLS, and {protocol} does ({_PROTOCOL})"


async def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent over it
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
    writer.close()
    return True


async def _offered_mechanisms(host: str, port: int, options: Mapping[str, Any]) -> str:
    """The SASL mechanisms of the listener, separated by commas; empty if it wants no login."""
    without = {**options, "security_protocol": options["security_protocol"].removeprefix("SASL_")}
    try:
        conn = await create_conn(host, port, **without)
        try:
            answer = await conn.send(SaslHandShakeRequest(_NO_MECHANISM))
        finally:
            conn.close()
    except (KafkaError, OSError):
        return ""
    if answer.error_code not in (0, UnsupportedSaslMechanismError.errno):
        return ""
    # The embedded broker, which has none, gives back what it was asked for.
    return ", ".join(name for name in answer.enabled_mechanisms if name != _NO_MECHANISM)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _words(error: BaseException) -> str:
    if isinstance(error, KafkaError) and error.args:
        return str(error.args[0])
    return " ".join(str(error).split()) or type(error).__name__
