"""A wrong setting is named with what was expected; one that does nothing is named too."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams import settings
from streams.cli import main


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HOSO_AS_OF", "tomorrow", "expected today, latest or a day as 2022-08-25"),
        ("HOSO_AS_OF", "2022-02-30", "expected today, latest or a day as 2022-08-25"),
        ("HOSO_BROKERS", "kafka", "expected host:port"),
        ("HOSO_BROKERS", "::1:9092", "IPv6 as [::1]:9092"),
        ("HOSO_BROKERS", "[::1]", "IPv6 as [::1]:9092"),
        ("HOSO_BROKERS", "kafka:9092,,", "expected host:port"),
        ("HOSO_BROKERS", "kafka:99999", "expected host:port"),
        ("HOSO_BROKERS", "kafka://kafka:9092", "expected host:port"),
        ("HOSO_DEFINITION", "mine", "expected one of mic-2022, "),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(settings.SettingsError) as raised:
        settings.load({name: value})
    assert str(raised.value).startswith(f"{name}: {value!r} is not valid: ")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("brokers", ["[::1]:9092", "kafka-1:9092,[fe80::1%eth0]:9093"])
def test_brokers_may_have_ipv6_addresses(brokers: str) -> None:
    assert settings.load({"HOSO_BROKERS": brokers}).client_options()[
        "bootstrap_servers"
    ] == brokers.split(",")


def test_a_login_needs_its_name_and_its_password() -> None:
    with pytest.raises(settings.SettingsError, match=r"^HOSO_SASL_PASSWORD: missing"):
        settings.load({"HOSO_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "HOSO_SASL_USERNAME": "worker"})


def test_a_key_without_its_certificate_is_named_whatever_the_protocol() -> None:
    with pytest.raises(settings.SettingsError, match=r"^HOSO_SSL_KEYFILE: a key needs its cert"):
        settings.load({"HOSO_SSL_KEYFILE": "client.key"})


def test_an_unknown_setting_is_named_with_the_one_that_may_be_meant() -> None:
    assert settings.unknown(
        {
            "HOSO_BROKER": "kafka:9092",
            "HOSO_XYZZY": "1",
            "HOSO_TEST_BROKERS": "the tests'",
            "HOSO_PARTITIONS": "12",
            "hoso_partitions": "12",
            "HOSTNAME": "here",
        }
    ) == [
        "HOSO_BROKER: no such setting; is HOSO_BROKERS meant?",
        "HOSO_XYZZY: no such setting",
    ]


def test_settings_without_effect_are_named_with_the_reason() -> None:
    given = settings.load(
        {
            "HOSO_SASL_PASSWORD": "not shown",
            "HOSO_SSL_CAFILE": "ca.pem",
            "HOSO_DATA_DIR": "/data",
            "HOSO_CREATE_TOPICS": "false",
            "HOSO_REPLICATION": "3",
        }
    )
    assert settings.without_effect(given) == [
        "HOSO_DATA_DIR: has no effect with HOSO_STORE=memory",
        "HOSO_REPLICATION: has no effect with HOSO_CREATE_TOPICS=false",
        "HOSO_SASL_PASSWORD: has no effect with HOSO_SECURITY_PROTOCOL=PLAINTEXT",
        "HOSO_SSL_CAFILE: has no effect with HOSO_SECURITY_PROTOCOL=PLAINTEXT",
    ]
    assert settings.without_effect(settings.load({})) == []


def test_a_command_warns_of_settings_that_do_nothing_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOSO_BROKERS", "127.0.0.1:1")
    monkeypatch.setenv("HOSO_BROKRES", "kafka:9092")
    monkeypatch.setenv("HOSO_SASL_USERNAME", "worker")
    result = CliRunner().invoke(main, ["report"])
    assert result.stderr.splitlines() == [
        "warning: HOSO_BROKRES: no such setting; is HOSO_BROKERS meant?",
        "warning: HOSO_SASL_USERNAME: has no effect with HOSO_SECURITY_PROTOCOL=PLAINTEXT",
        "error: no broker answers at 127.0.0.1:1: connection refused (HOSO_BROKERS)",
    ]
    assert result.exit_code == 2
