"""The secured listener of a test's Kafka: TLS, passwords, and rules for who may do what."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

_ADMIN_S: Final = 10.0


class SecuredListener:
    """What server and clients need to meet over SASL_SSL with SCRAM-SHA-512.

    Args:
        port: where it listens on 127.0.0.1.
        users: name and password of whoever may log in.
        folder: gets the certificate authority's and the broker's files.
    """

    def __init__(self, port: int, users: Mapping[str, str], folder: Path) -> None:
        self._users = dict(users)
        self._folder = folder
        self.bootstrap_servers: Final = f"127.0.0.1:{port}"
        self.ca_file: Final = folder / "ca.pem"
        _write_certificates(folder)

    def client_properties(self, user: str, password: str | None = None) -> dict[str, str]:
        """What a client needs to log in as `user`, by default with the right password."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self._users[user] if password is None else password,
            "ssl.ca.location": str(self.ca_file),
        }

    def server_properties(self, node: Mapping[str, str]) -> dict[str, str]:
        """The node's settings with this listener added.

        Connections to the open listener count as super user: it is on loopback, and is how a
        test sets up what it needs.
        """
        return {
            **node,
            "listeners": f"{node['listeners']},SECURED://{self.bootstrap_servers}",
            "listener.security.protocol.map": (
                f"{node['listener.security.protocol.map']},SECURED:SASL_SSL"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._folder / "broker.pem"),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.secured.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }


def allow(
    bootstrap_servers: str,
    user: str,
    rights: Iterable[tuple[ResourceType, str, AclOperation]],
    *,
    prefixed: bool = False,
) -> None:
    """Allow `user` what is listed (kind, name, operation), through the open listener.

    Names are exact, or beginnings if `prefixed`.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    rules = [
        AclBinding(
            kind,
            name,
            ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for kind, name, operation in rights
    ]
    for made in admin.create_acls(rules, request_timeout=_ADMIN_S).values():
        made.result(_ADMIN_S)


def _write_certificates(folder: Path) -> None:
    """Write `ca.pem` and `broker.pem`, the latter with its key as PKCS#8: Kafka reads no other."""
    trustme = import_module("trustme")
    serialization = import_module("cryptography.hazmat.primitives.serialization")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    broker = authority.issue_cert("127.0.0.1", "localhost")
    key = serialization.load_pem_private_key(broker.private_key_pem.bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = b"".join(certificate.bytes() for certificate in broker.cert_chain_pems)
    (folder / "broker.pem").write_bytes(key + chain)
