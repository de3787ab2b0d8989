"""Whatever keeps clients from a broker is said in one line, with the setting it comes from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams import settings
from streams.cli import main
from streams.kafka.diagnosis import diagnose
from tests.conftest import Broker
from tests.kafka.secured import PASSWORDS, SecuredKafka

pytestmark = pytest.mark.kafka

WRONG_PASSWORD = "this-must-not-be-shown"

# Listener, protocol, other settings (a word for a certificate's file), what is said, where from.
REFUSED = {
    "plain against TLS": ("TLS", "PLAINTEXT", {}, "it speaks TLS", "SECURITY_PROTOCOL"),
    "plain against a login over TLS": (
        *("LOGIN", "PLAINTEXT", {}, "it speaks TLS", "SECURITY_PROTOCOL"),
    ),
    "plain against a login": (
        *("OPEN", "PLAINTEXT", {}, "it wants a login (PLAIN, SCRAM-SHA-256)", "SECURITY_PROTOCOL"),
    ),
    "TLS against plain": ("PLAINTEXT", "SSL", {}, "it does not speak TLS", "SECURITY_PROTOCOL"),
    "a login over TLS against plain": (
        *("PLAINTEXT", "SASL_SSL", {}, "it does not speak TLS", "SECURITY_PROTOCOL"),
    ),
    "a login against plain": (
        *("PLAINTEXT", "SASL_PLAINTEXT", {}, "it wants no login", "SECURITY_PROTOCOL"),
    ),
    "a login where none is wanted": (
        *("TLS", "SASL_SSL", {}, "it wants no login", "SECURITY_PROTOCOL"),
    ),
    "no login where one is wanted": (
        *("LOGIN", "SSL", {}, "it wants a login (PLAIN)", "SECURITY_PROTOCOL"),
    ),
    "another CA": (
        *("TLS", "SSL", {"ssl_cafile": "other-ca.pem"}, "is not trusted here", "SSL_CAFILE"),
    ),
    "no CA": ("TLS", "SSL", {"ssl_cafile": ""}, "is not trusted here", "SSL_CAFILE"),
    "an expired certificate": ("EXPIRED", "SSL", {}, "has expired", "SSL_CAFILE"),
    "a certificate for another name": (
        *("ELSEWHERE", "SSL", {}, "for other names than 127.0.0.1", "BROKERS"),
    ),
    "no client certificate": (
        *("MUTUAL", "SSL", {}, "without a client certificate", "SSL_CERTFILE"),
    ),
    "a client certificate of another CA": (
        *("MUTUAL", "SSL", {"ssl_certfile": "stranger.pem", "ssl_keyfile": "stranger.key"}),
        *("it refuses the client certificate", "SSL_CERTFILE"),
    ),
    "a wrong password": (
        *("LOGIN", "SASL_SSL", {"sasl_password": WRONG_PASSWORD}),
        *("it refuses user 'worker' with this password by PLAIN", "SASL_PASSWORD"),
    ),
    "a wrong password for SCRAM": (
        *("OPEN", "SASL_PLAINTEXT", {"sasl_mechanism": "SCRAM-SHA-256"}),
        *("it refuses user 'worker' with this password by SCRAM-SHA-256", "SASL_PASSWORD"),
    ),
    "a mechanism that is not offered": (
        *("LOGIN", "SASL_SSL", {"sasl_mechanism": "SCRAM-SHA-512"}),
        *("it offers PLAIN, not SCRAM-SHA-512", "SASL_MECHANISM"),
    ),
    "an advertised name that nobody knows": (
        *("ASTRAY", "PLAINTEXT", {}, "sends clients on to kafka.invalid:9092", "advertised"),
    ),
}


def _environment(
    kafka: SecuredKafka, listener: str, protocol: str, other: dict[str, str]
) -> dict[str, str]:
    given = {
        "brokers": kafka.bootstrap if listener == "PLAINTEXT" else kafka.at(listener),
        "security_protocol": protocol,
    }
    if "SSL" in protocol:
        given["ssl_cafile"] = "ca.pem"
    if "SASL" in protocol:
        given |= {"sasl_username": "worker", "sasl_password": PASSWORDS["worker"]}
    given |= other
    return {
        f"HOSO_{name.upper()}": str(kafka.certificates[value])
        if value.endswith((".pem", ".key"))
        else value
        for name, value in given.items()
        if value
    }


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_broker_refuses_is_said_in_one_line_with_its_setting(
    case: str, secured_kafka: SecuredKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, protocol, other, reason, setting = REFUSED[case]
    environment = _environment(secured_kafka, listener, protocol, other)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for command in (["report"], ["worker"]):
        result = CliRunner().invoke(main, command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(
            f"error: no broker answers at {environment['HOSO_BROKERS']}"
        )
        assert result.stderr.count("\n") == 1
        assert reason in result.stderr
        assert setting in result.stderr.rpartition(" (")[2]
        for secret in (WRONG_PASSWORD, *PASSWORDS.values()):
            assert secret not in result.output


@pytest.mark.parametrize(
    ("listener", "protocol", "other"),
    [
        ("PLAINTEXT", "PLAINTEXT", {}),
        ("TLS", "SSL", {}),
        ("MUTUAL", "SSL", {"ssl_certfile": "client.pem", "ssl_keyfile": "client.key"}),
        ("LOGIN", "SASL_SSL", {}),
        ("OPEN", "SASL_PLAINTEXT", {}),
    ],
)
def test_nothing_is_wrong_with_right_settings(
    secured_kafka: SecuredKafka, listener: str, protocol: str, other: dict[str, str]
) -> None:
    found = settings.load(_environment(secured_kafka, listener, protocol, other))
    assert asyncio.run(diagnose(found)) == "now one does, try again (HOSO_BROKERS)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ssl_certfile": "client.pem"}, "HOSO_SSL_KEYFILE: "),
        ({"ssl_keyfile": "client.key"}, "HOSO_SSL_KEYFILE: a key needs its certificate in "),
        (
            {"ssl_certfile": "client.pem", "ssl_keyfile": "stranger.key"},
            "HOSO_SSL_KEYFILE: {stranger.key} is not the key of {client.pem}",
        ),
        (
            {"ssl_certfile": "client.pem", "ssl_keyfile": "locked.key"},
            "HOSO_SSL_KEYFILE: {locked.key} is encrypted; expected a key without a passphrase",
        ),
        (
            {"ssl_certfile": "client.key", "ssl_keyfile": "client.key"},
            "HOSO_SSL_CERTFILE: {client.key}: ",
        ),
        ({"ssl_cafile": "client.key"}, "HOSO_SSL_CAFILE: {client.key}: "),
        ({"ssl_cafile": "nothing.pem"}, "HOSO_SSL_CAFILE: {nothing.pem}: No such file"),
    ],
)
def test_a_file_that_is_no_use_is_named(
    secured_kafka: SecuredKafka, given: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(settings.SettingsError) as raised:
        settings.load(_environment(secured_kafka, "TLS", "SSL", given))
    for name in ("stranger.key", "client.pem", "locked.key", "client.key", "nothing.pem"):
        said = said.replace(f"{{{name}}}", str(secured_kafka.certificates[name]))
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


@pytest.mark.broker
def test_the_embedded_broker_which_leaves_tls_unanswered_is_told_apart(
    embedded_broker: Broker,
) -> None:
    found = settings.load(
        {"HOSO_BROKERS": embedded_broker.bootstrap, "HOSO_SECURITY_PROTOCOL": "SSL"}
    )
    reason = asyncio.run(diagnose(found, seconds=0.5))
    assert reason == "it does not speak TLS, and SSL does (HOSO_SECURITY_PROTOCOL)"
