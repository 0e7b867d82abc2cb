"""The certificates of the tests' control plane; use it through `controlplane`."""

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_Extensions = Sequence[tuple[x509.ExtensionType, bool]]
_CA_KEY_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A certificate authority that writes PEM files into `folder`; `ca_file` is its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._issued = 0
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "auditor-test-ca")])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = folder / "ca.crt"
        extensions: _Extensions = (
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (_CA_KEY_USAGE, True),
        )
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
        self._sign(self.ca_file, self._name, self._key.public_key(), until, extensions)

    def write_key(self, stem: str) -> tuple[ec.EllipticCurvePrivateKey, Path]:
        """Make a private key and write it to `<stem>.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        file = self._folder / f"{stem}.key"
        file.touch(mode=0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return key, file

    def issue(
        self,
        user: str,
        groups: Iterable[str] = (),
        *,
        valid_for: dt.timedelta = dt.timedelta(days=1),
        hosts: Sequence[x509.GeneralName] = (),
    ) -> tuple[Path, Path]:
        """Write a certificate and its key; it is a server's where `hosts` are given.

        Where `valid_for` is negative, it has expired that long ago.
        """
        self._issued += 1
        key, key_file = self.write_key(f"issued-{self._issued}")
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
        use = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.ExtendedKeyUsage([use]), False)]
        if hosts:
            extensions.append((x509.SubjectAlternativeName(hosts), False))
        file = key_file.with_suffix(".crt")
        until = dt.datetime.now(dt.UTC) + valid_for
        self._sign(file, x509.Name(names), key.public_key(), until, extensions)
        return file, key_file

    def _sign(
        self,
        file: Path,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        until: dt.datetime,
        extensions: _Extensions,
    ) -> None:
        own = self._key.public_key()
        since = min(until, dt.datetime.now(dt.UTC)) - dt.timedelta(hours=1)
        builder = (
            x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        signed = builder.sign(self._key, hashes.SHA256())
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
