"""Content Credentials: sign images so that every later change is detected.

The format is C2PA's (https://c2pa.org), read and written by its own library, ``c2pa-python``. The
signature covers every byte of the file but itself, and states with which program, and how, the
image was made: created by a trained algorithm if it carries souron's own mark, else opened and
signed unchanged. No network is used: no time stamp, no certificate status, no remote credentials.

Verification has three results:

- *signed*: by the holder of a certificate, and not changed since. The signer's identity is known
  only for this computer's own root (``signing_keys``) and for roots that are given.
- *changed*: there is a signature, and the file is not what was signed.
- *none*: nothing was found, which proves nothing. Saving an image anew removes the signature.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import souron
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import limits, provenance, signing_keys
from souron.utils import extras, files
from souron.utils.messages import UserError, _

TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
LARGEST = 50_000_000  # bytes of a file
LONGEST = 200  # characters of a name in a certificate
# errors of a certificate that leave signature and image valid
CERTIFICATE = ("signingCredential.", "timeStamp.", "claimSignature.outsideValidity")
WHOLE = ("claimSignature.validated",)
HASHED = ("assertion.dataHash.match", "assertion.boxesHash.match", "assertion.bmffHash.match")


@dataclass(frozen=True)
class Answer:
    """The result of verifying a file's signature."""

    state: str  # "signed", "changed", "none"
    signer: str = ""  # the name in the certificate, verbatim
    trusted: bool = False  # by this computer's root, or by one that was given
    here: bool = False  # this computer's root
    made: str = ""  # IPTC's digital source type, as the signer states it
    software: str = ""
    why: str = ""  # the error, in the library's words

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def library() -> Any:
    """Import ``c2pa``. Raises UserError if it is not installed."""
    extras.check("credentials", _("signing and verifying need c2pa-python and cryptography"))
    import c2pa

    return c2pa


def _context(roots: Sequence[str]) -> Any:
    """Return a context without network, and without thumbnails, which are large."""
    c2pa = library()
    settings: dict[str, Any] = {
        "builder": {"thumbnail": {"enabled": False}},
        "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    }
    if roots:
        settings["trust"] = {"user_anchors": "\n".join(roots)}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def sign(path: Path, out: Path | None = None) -> Path:
    """Write a signed copy of a PNG, JPEG, WebP or GIF and return its path.

    The default is ``picture.signed.png`` beside it. Raises UserError, also if that file exists.
    """
    c2pa = library()
    kind = type_of(path)
    place = out or path.with_name(f"{path.stem}.signed{path.suffix}")
    if place.exists() or place.is_symlink():
        raise UserError(
            "exists",
            _("{path} is there already").format(path=limits.readable(place)),
            expected=_("a new file"),
            fix="out=FILE",
            exit=5,
        )
    signed = _signed(c2pa, path, kind)
    try:
        with place.open("xb") as stream:  # fails if the file appeared meanwhile
            stream.write(signed)
    except OSError as error:
        if not isinstance(error, FileExistsError):
            place.unlink(missing_ok=True)
        raise files.cannot_write(place, error) from error
    return place


def _signed(c2pa: Any, path: Path, kind: str) -> bytes:
    keys = signing_keys.keys()
    mark = provenance.read(path)
    builder = c2pa.Builder(json.dumps(_manifest(path, mark)), _context([keys.root]))
    if mark is None or mark.digital_source_type == provenance.EDITED:
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)  # c2pa.opened, with its history
    stream = io.BytesIO()
    try:
        builder.sign(_signer(c2pa, keys), kind, io.BytesIO(path.read_bytes()), stream)
    except c2pa.C2paError as error:
        raise limits.trouble(
            path, "signature", _("cannot be signed: {why}").format(why=str(error)[:LONGEST]), ", ".join(TYPES)
        ) from error
    return stream.getvalue()


def _manifest(path: Path, mark: provenance.Mark | None) -> dict[str, Any]:
    actions = []
    if mark is not None and mark.digital_source_type == provenance.GENERATED:
        actions = [{"action": "c2pa.created", "digitalSourceType": provenance.GENERATED}]
    elif mark is not None:
        actions = [{"action": "c2pa.edited", "digitalSourceType": provenance.EDITED}]
    return {
        "claim_generator_info": [{"name": "souron", "version": souron.__version__}],
        "title": limits.printable(limits.readable(path.name)),
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}] if actions else [],
    }


def _signer(c2pa: Any, keys: signing_keys.Keys) -> Any:
    chain = (keys.signer + keys.root).encode()
    info = c2pa.C2paSignerInfo(b"es256", chain, keys.key.encode(), None)  # no time-stamp server
    return c2pa.Signer.from_info(info)


def type_of(path: Path) -> str:
    """Return the media type of an image that can carry a signature. Raises UserError."""
    limits.check_file(path, most=LARGEST)
    with image_codec.opened(path) as image:
        kind = image.format if isinstance(image, Image.Image) else "DICOM"
    if kind not in TYPES:
        raise limits.trouble(path, "format", _("images of this kind carry no signature"), ", ".join(TYPES))
    return TYPES[str(kind)]


def verify(path: Path, roots: Sequence[str] = ()) -> Answer:
    """Verify the signature of a file.

    ``roots`` are certificates (PEM) to trust besides this computer's own. Raises UserError if the
    file is no image that can carry a signature.
    """
    c2pa = library()
    kind = type_of(path)
    raw = path.read_bytes()
    own = signing_keys.root()
    trusted = [*roots, *([own] if own else [])]
    try:
        reader = c2pa.Reader.try_create(kind, io.BytesIO(raw), context=_context(trusted))
        if reader is None:
            return Answer("none")
        told = json.loads(reader.json())
        here = bool(own) and _trusts(c2pa, kind, raw, str(own))
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        text = limits.printable(str(error))[:LONGEST]
        if text.startswith("Remote"):  # remote credentials are not fetched
            return Answer("none", why=text)
        return Answer("changed", why=text)
    return _answer(told, here)


def _trusts(c2pa: Any, kind: str, raw: bytes, root: str) -> bool:
    reader = c2pa.Reader.try_create(kind, io.BytesIO(raw), context=_context([root]))
    return reader is not None and reader.get_validation_state() == "Trusted"


def _answer(told: Any, here: bool) -> Answer:
    """Interpret the library's report on the active manifest; its content is untrusted."""
    active = told.get("manifests", {}).get(told.get("active_manifest"), {})
    results = told.get("validation_results", {}).get("activeManifest", {})
    passed = {str(one.get("code")) for one in results.get("success", ())}
    failed = {str(one.get("code")) for one in results.get("failure", ())}
    about = active.get("signature_info") or {}
    signer = _clean(about.get("common_name") or about.get("issuer") or "")
    grave = sorted(code for code in failed if not code.startswith(CERTIFICATE))
    whole = passed.issuperset(WHOLE) and bool(passed.intersection(HASHED)) and not grave
    said: dict[str, Any] = {
        "signer": signer,
        "made": _clean(_source_type(active)),
        "software": _clean(_software(active)),
        "why": ", ".join(map(_clean, grave or sorted(failed))),
    }
    if not whole:
        return Answer("changed", **said)
    trusted = told.get("validation_state") == "Trusted"
    return Answer("signed", trusted=trusted, here=trusted and here, **said)


def _source_type(active: Any) -> str:
    for assertion in active.get("assertions", ()):
        for action in (assertion.get("data") or {}).get("actions", ()) or ():
            if isinstance(action, dict) and action.get("digitalSourceType"):
                return str(action["digitalSourceType"])
    return ""


def _software(active: Any) -> str:
    infos = active.get("claim_generator_info") or [{}]
    return " ".join(str(infos[0].get(name, "")) for name in ("name", "version")).strip()


def _clean(text: Any) -> str:
    return limits.printable(str(text))[:LONGEST]
