"""Where a picture comes from: the mark that each generated picture carries, and how it is read.

The mark stands in the file's metadata, where common tools show it: as JSON in a PNG text chunk, in
Exif's ImageDescription (JPEG, WebP) or in a GIF's comment, and in all four as XMP with IPTC's
DigitalSourceType, by which search engines and social networks know generated pictures
(https://cv.iptc.org/newscodes/digitalsourcetype/).

It is a label, no proof. Whoever saves a picture anew may lose it, whoever wants to can take it off
or write a false one; a picture without it may be generated all the same.
"""

import hashlib
import html
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ExifTags, Image, PngImagePlugin

import souron
from souron.kinds.codecs.image import opened
from souron.utils.messages import UserError, _

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SPACE = "urn:souron:mark/"  # of the names of our own fields in XMP
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
LONGEST = 4096  # characters of a mark
LONGEST_FIELD = 200
LONGEST_XMP = 65_536  # bytes that are looked through
PNG_KEY = "souron"
TEXTS = ("software", "version", "system", "data", "run")  # fields of a mark


@dataclass(frozen=True)
class Mark:
    """What is said of one picture."""

    software: str
    version: str
    system: str  # as trained: "dcgan_small"
    data: str  # the data set's name; of a folder the last part, not where it lies
    run: str  # the hash of the weights that drew it, 16 hexadecimal digits
    seed: int
    number: int | None = None  # of the picture within its seed; None where several are shown
    generated: bool = True
    digital_source_type: str = GENERATED

    def of(self, number: int | None) -> "Mark":
        return replace(self, number=number)


class Reading(NamedTuple):
    """What a file says of its origin."""

    mark: Mark | None  # souron's
    source_type: str  # IPTC's word for it, whoever wrote it; "" where there is none


def mark(folder: Path, args: Mapping[str, Any], seed: int) -> Mark:
    """The mark of a run's pictures; ``mark(...).of(7)`` is that of picture 7."""
    return Mark(
        "souron",
        souron.__version__,
        _clean(args["system"]),
        _clean(Path(str(args["data"])).name),
        run_hash(folder),
        seed,
    )


def run_hash(folder: Path) -> str:
    """Of the weights that a run draws with, 16 hexadecimal digits."""
    with (folder / "weights" / "best.safetensors").open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def save(image: Image.Image, path: Path, mark: Mark, **options: Any) -> None:
    """Write a picture with its mark. ``options`` are those of Pillow's ``save``; without ``format``
    the name says it. Raises UserError for formats that carry no mark."""
    known = Image.registered_extensions()
    kind = str(options.pop("format", None) or known.get(path.suffix.lower(), "")).upper()
    kind = {"JPG": "JPEG"}.get(kind, kind)
    text = json.dumps(asdict(mark))  # ASCII: Exif and GIF know no other letters
    if kind == "PNG":
        about = PngImagePlugin.PngInfo()
        about.add_itxt("Software", f"{mark.software} {mark.version}")
        about.add_itxt(PNG_KEY, text)
        about.add_itxt("XML:com.adobe.xmp", xmp(mark))
        image.save(path, kind, pnginfo=about, **options)
    elif kind in ("JPEG", "WEBP"):
        exif = Image.Exif()
        exif[ExifTags.Base.Software] = f"{mark.software} {mark.version}"
        exif[ExifTags.Base.ImageDescription] = text
        image.save(path, kind, exif=exif, xmp=xmp(mark).encode(), **options)
    elif kind == "GIF":
        stream = io.BytesIO()
        image.save(stream, kind, comment=text.encode(), **options)
        path.write_bytes(_with_xmp(stream.getvalue(), xmp(mark).encode()))
    else:
        raise UserError(
            "format",
            _("{path}: pictures of this kind carry no mark").format(path=path),
            expected=", ".join(FORMATS),
            fix=str(path.with_suffix(".png").name),
        )


def xmp(mark: Mark) -> str:
    """The mark as an XMP packet (ISO 16684-1)."""
    own = "".join(
        f' souron:{name}="{html.escape(str(value))}"'
        for name, value in asdict(mark).items()
        if value is not None and name != "digital_source_type"
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmlns:souron="{SPACE}"'
        f' xmp:CreatorTool="{html.escape(f"{mark.software} {mark.version}")}"'
        f' Iptc4xmpExt:DigitalSourceType="{GENERATED}"{own}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )


def _with_xmp(gif: bytes, packet: bytes) -> bytes:
    """A GIF with an XMP extension behind its header, which Pillow does not write. Readers that skip
    it take the packet's bytes for lengths of blocks; the 258 bytes at its end catch them wherever
    they come out (Adobe: XMP Specification Part 3, Storage in Files, GIF)."""
    colours = gif[10]
    start = 13 + (3 * 2 ** ((colours & 7) + 1) if colours & 0x80 else 0)
    caught = bytes([1, *range(255, -1, -1), 0])
    return gif[:start] + b"\x21\xff\x0bXMP DataXMP" + packet + caught + gif[start:]


def read(path: Path) -> Mark | None:
    """souron's mark; None where the file has none, which proves nothing. Raises UserError."""
    return look(path).mark


def look(path: Path) -> Reading:
    """What a file says of its origin. Its pixels are not decoded. Raises UserError."""
    with opened(path) as image:
        if not isinstance(image, Image.Image):  # DICOM
            return Reading(None, "")
        packet = _xmp_of(image)
        marks = (read_mark(text) for text in (*_texts(image), packet))
        found = next((one for one in marks if one is not None), None)
    said = re.search(r"DigitalSourceType\W[^<>]{0,80}?(https?://[\w.:/#-]{1,150})", packet)
    kind = found.digital_source_type if found else said[1] if said else ""
    return Reading(found, kind)


def _texts(image: Image.Image) -> Iterator[str]:
    """Where our own JSON may stand."""
    yield _text(image.info.get(PNG_KEY))
    yield _text(image.info.get("comment"))
    if image.format in ("JPEG", "WEBP"):
        yield _text(image.getexif().get(ExifTags.Base.ImageDescription))


def _xmp_of(image: Image.Image) -> str:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return _text(packet[:LONGEST_XMP])


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value[:LONGEST_XMP].decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def read_mark(text: str) -> Mark | None:
    """The mark in a JSON text or an XMP packet; None where there is none. Texts from strangers: no
    XML is parsed, long ones are passed over, fields are cut and freed of control characters."""
    if text.lstrip().startswith("{"):
        try:
            fields = json.loads(text) if len(text) <= LONGEST else {}
        except (ValueError, RecursionError):
            return None
    else:
        pairs = re.findall(r'souron:(\w{1,40})="([^"]{0,1000})"', text[:LONGEST_XMP])
        fields = {name: html.unescape(value) for name, value in pairs}
    try:
        number = fields.get("number")
        texts = {name: _clean(fields[name]) for name in TEXTS}
        return Mark(
            **texts,
            seed=_whole(fields["seed"]),
            number=None if number is None else _whole(number),
            generated=str(fields["generated"]).lower() == "true",
        )
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        return None


def _clean(value: Any) -> str:
    text = str(value)[:LONGEST_FIELD]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _whole(value: Any) -> int:
    number = int(value)
    if abs(number) >= 2**63:
        raise ValueError("no number of ours")
    return number
