"""One node of Apache Kafka with a listener for each way to be refused, and Kafka's own authorizer.

Users of the listeners with a login are in ``PASSWORDS``; all but ``admin`` have the rights that a
test gives them with :meth:`SecuredKafka.allow`, and no other. Certificates are made with openssl.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from streams.kafka.broker import HOST
from tests.kafka.apache import ApacheKafka, KafkaUnavailableError, _free_ports

PASSWORDS = {name: f"secret-of-{name}" for name in ("admin", "worker", "clerk", "guest")}

LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "EXPIRED": "SSL",
    "ELSEWHERE": "SSL",
    "LOGIN": "SASL_SSL",
    "OPEN": "SASL_PLAINTEXT",
    "ASTRAY": "PLAINTEXT",
}
"""Names and protocols. MUTUAL wants a client certificate; the certificate of EXPIRED has expired,
that of ELSEWHERE is for another name; ASTRAY advertises a name that nobody can resolve."""

_CERTIFICATES = {"TLS": "server", "MUTUAL": "server", "LOGIN": "server"} | {
    name: name.lower() for name in ("EXPIRED", "ELSEWHERE")
}


class Certificates:
    """PEM files under a directory: two CAs, a server's certificates and a client's."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("openssl") is None:
            raise KafkaUnavailableError(
                "certificates for the tests need openssl, and there is none"
            )
        directory.mkdir()
        self._directory = directory
        for authority in ("ca", "other-ca"):
            self._openssl(
                *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-subj", f"/CN={authority}", "-days", "2"),
                *("-keyout", f"{authority}.key", "-out", f"{authority}.pem"),
            )
        self._issue("server", f"IP:{HOST},DNS:localhost")
        self._issue("elsewhere", "DNS:kafka.example")
        self._issue("expired", f"IP:{HOST}", expired=True)
        self._issue("client", "DNS:client")
        self._issue("stranger", "DNS:stranger", authority="other-ca")
        self._openssl(
            *("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:locked"),
            *("-in", "client.key", "-out", "locked.key"),
        )

    def __getitem__(self, name: str) -> Path:
        return self._directory / name

    def _issue(
        self, name: str, names: str, *, authority: str = "ca", expired: bool = False
    ) -> None:
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        database, extensions = self[f"{name}.db"], self[f"{name}.cnf"]
        database.touch()
        extensions.write_text(
            "[ca]\ndefault_ca=test\n[test]\n"
            f"database={database}\nnew_certs_dir={self._directory}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\nx509_extensions=names\n"
            f"[any]\ncommonName=supplied\n[names]\nsubjectAltName={names}\n"
        )
        until = "20200102000000Z" if expired else "20990101000000Z"
        self._openssl(
            *("ca", "-batch", "-notext", "-config", extensions.name, "-in", f"{name}.csr"),
            *("-startdate", "20200101000000Z", "-enddate", until, "-out", f"{name}.pem"),
            *("-cert", f"{authority}.pem", "-keyfile", f"{authority}.key"),
        )
        # As Kafka reads them: the key, then the chain.
        self[f"{name}.store"].write_text(
            self[f"{name}.key"].read_text() + self[f"{name}.pem"].read_text()
        )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], cwd=self._directory, check=True, capture_output=True, text=True
        )


_KINDS = {"topic": 2, "group": 3, "cluster": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8}
_LITERAL, _ALLOW = 3, 3


class SecuredKafka(ApacheKafka):
    """See the module. Clients of the plain listener, ``bootstrap``, may do everything."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.certificates = Certificates(directory / "certificates")
        self._listeners = dict(zip(LISTENERS, _free_ports(len(LISTENERS)), strict=True))

    def at(self, listener: str) -> str:
        """``host:port`` of a listener by its name."""
        return f"{HOST}:{self._listeners[listener]}"

    def allow(self, user: str, operation: str, kind: str, *names: str) -> None:
        """Give a user a right, e.g. ``allow("worker", "Read", "topic", "hoso.submissions")``."""
        asyncio.run(self._acls(CreateAclsRequest, user, operation, kind, names))

    def deny(self, user: str, operation: str, kind: str, *names: str) -> None:
        """Take a right away that :meth:`allow` gave."""
        asyncio.run(self._acls(DeleteAclsRequest, user, operation, kind, names))

    async def _acls(
        self, what: Any, user: str, operation: str, kind: str, names: Sequence[str]
    ) -> None:
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
        await client.bootstrap()
        try:
            for name in names:
                acl = (_KINDS[kind], name, _LITERAL, f"User:{user}", "*")
                answer = await client.send(0, what(*acl, _OPERATIONS[operation], _ALLOW))
                results = answer.get_item(answer.SCHEMA.names[1])
                assert all(result[0] == 0 for result in results), answer
        finally:
            await client.close()

    def _properties(self, node: int) -> dict[str, object]:
        usual = super()._properties(node)
        plain, controller = str(usual["listeners"]).split(",")
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **LISTENERS}
        more = [f"{name}://{self.at(name)}" for name in LISTENERS]
        advertised = [at for at in more if not at.startswith("ASTRAY")]
        users = " ".join(f'user_{name}="{word}"' for name, word in PASSWORDS.items())
        properties = usual | {
            "listeners": ",".join([plain, controller, *more]),
            "advertised.listeners": ",".join([plain, *advertised, "ASTRAY://kafka.invalid:9092"]),
            "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:admin;User:CN=client",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.certificates["ca.pem"],
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.open.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            "listener.name.open.scram-sha-256.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }
        for listener, name in _CERTIFICATES.items():
            properties |= {
                f"listener.name.{listener.lower()}.ssl.keystore.type": "PEM",
                f"listener.name.{listener.lower()}.ssl.keystore.location": self.certificates[
                    f"{name}.store"
                ],
            }
        for listener in ("login", "open"):
            properties[f"listener.name.{listener}.plain.sasl.jaas.config"] = (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            )
        return properties
