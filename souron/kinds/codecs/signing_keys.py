"""This computer's key for signing images, and its certificates.

A chain of two, generated on this computer at the first signature: a root, and a signer certified by
the root, on the curve P-256, for e-mail protection, which is what C2PA requires of a
signer's certificate
(https://spec.c2pa.org/specifications/specifications/2.2/specs/C2PA_Specification.html,
section 14.5). The root's key is discarded after use: nobody can add a second signer. No authority
certifies this root. Elsewhere it proves only that the same computer signed two images; recipients
need ``root.pem`` to recognise it.
"""

import datetime
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.utils import files
from souron.utils.messages import UserError, _

YEARS = 10
DAY = datetime.timedelta(days=1)
LARGEST = 100_000  # bytes of a certificate's or key's file
NAMES = ("root.pem", "signer.pem", "signer.key")


@dataclass(frozen=True)
class Keys:
    root: str  # PEM
    signer: str  # PEM
    key: str = field(repr=False)  # the signer's, PEM


def folder() -> Path:
    """Return the folder of the keys: SOURON_KEYS, else in the user's data folder."""
    own = os.environ.get("SOURON_KEYS")
    if own:
        return Path(own).expanduser()
    from platformdirs import user_data_path

    return user_data_path("souron") / "keys"


def root() -> str | None:
    """Return this computer's root certificate, PEM; None if nothing has been signed yet."""
    try:
        return read_pem(folder() / "root.pem")
    except UserError:
        return None


def read_pem(path: Path) -> str:
    """Return the text of a certificate file. Raises UserError."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError(_("not a certificate"))
        text = path.read_text(encoding="ascii")
        if "-----BEGIN CERTIFICATE-----" not in text:
            raise ValueError(_("not a certificate"))
    except (OSError, ValueError) as error:
        raise UserError(
            "certificate",
            _("{path} cannot be read: {why}").format(path=path, why=error),
            expected=_("a certificate as PEM text, such as another computer's root.pem"),
            exit=3,
        ) from error
    return text


def keys() -> Keys:
    """Return this computer's keys, creating them if missing.

    Raises UserError if they cannot be stored, or are damaged.
    """
    place = folder()
    if not any((place / name).exists() for name in NAMES):
        _make(place)
    return _read(place)


def _read(place: Path) -> Keys:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        own, signer, secret = ((place / name).read_text("ascii") for name in NAMES)
        key = serialization.load_pem_private_key(secret.encode(), None)
        about = x509.load_pem_x509_certificate(signer.encode())
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(_("not a key of the curve P-256"))
        if about.public_key() != key.public_key():
            raise ValueError(_("the key and the certificate do not belong together"))
        if about.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            raise ValueError(_("the certificate has expired"))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            "keys",
            _("the signing key in {path} cannot be used: {why}").format(path=place, why=error),
            expected=", ".join(NAMES),
            fix=_("move that folder away: a new key is then made"),
            exit=3,
        ) from error
    return Keys(own, signer, secret)


def _make(place: Path) -> None:
    """Create a root, a signer, and the signer's key, readable by this user alone."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _number in range(2))
    own = _certificate("souron root of this computer", None, root_key, root_key, None)
    signer = _certificate("souron on this computer", own.subject, key, root_key, root_key)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = [one.public_bytes(serialization.Encoding.PEM) for one in (own, signer)]
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise files.cannot_write(place, error) from error
    for name, content in zip(NAMES, (*pem, secret), strict=True):
        with files.atomically(place / name) as beside:
            # readable by nobody else from its first byte on
            opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(opened, "wb") as stream:
                stream.write(content)


def _certificate(name: str, issuer: Any, key: Any, by: Any, vouched: Any) -> Any:
    """Create a certificate of ``key``, signed with ``by``; the root's if ``vouched`` is None."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "souron"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    now = datetime.datetime.now(datetime.UTC)
    is_root = vouched is None
    usage = x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if is_root else issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 365 * YEARS * DAY)
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        made = made.add_extension(purpose, critical=False).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(vouched.public_key()), critical=False
        )
    return made.sign(by, hashes.SHA256())
