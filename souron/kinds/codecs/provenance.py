"""Provenance of a file: the mark that every generated file carries, and how it is read.

The mark is in the file's metadata, where common tools show it: as JSON in a PNG text chunk, in
Exif's ImageDescription (JPEG, WebP) or in a GIF's comment, and in all four as XMP with IPTC's
DigitalSourceType, by which search engines and social networks recognise generated images
(https://cv.iptc.org/newscodes/digitalsourcetype/). Sounds, scores, videos and pages carry it as
well, see ``containers``. It also records the request, so that the file can be generated again.

It is a label, no proof. Saving a file again may lose it, and anyone can remove it or write a false
one; a file without it may still be generated.
"""

import hashlib
import html
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ExifTags, Image, PngImagePlugin

import souron
from souron.kinds.codecs import containers
from souron.kinds.codecs.image import opened
from souron.kinds.codecs.limits import trouble
from souron.utils.files import atomically
from souron.utils.messages import UserError, _

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# for input that a generative network changed: enlarged, coloured, completed
EDITED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SPACE = "urn:souron:mark/"  # namespace of our own fields in XMP
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
LONGEST = 32_768  # characters of a mark
LONGEST_FIELD = 200
LONGEST_SETTINGS = 24_000  # characters of all settings, as JSON
LONGEST_IN_XMP = 40_000  # bytes of settings in an XMP packet: JPEG has room for 65 502
LONGEST_XMP = containers.LONGEST  # bytes that are searched
MOST_SETTINGS, MOST_ITEMS = 100, 1000
SETTING = re.compile(r"[a-z]\w{0,39}", re.ASCII)  # name of a setting
PNG_KEY = "souron"
PUBLISHED = "published weights"  # replaces a run's data and hash
SOURCE_TYPE = "digital_source_type"
TEXTS = ("software", "version", "system", "data", "run")  # text fields of a mark


@dataclass(frozen=True)
class Mark:
    """Provenance of one image, or of another generated file."""

    software: str
    version: str
    system: str  # as trained: "dcgan_small"
    data: str  # name of the data set; for a folder the last part of its path
    run: str  # hash of the generator's weights, 16 hexadecimal digits
    seed: int
    number: int | None = None  # number of the image within its seed; None where several are shown
    generated: bool = True
    digital_source_type: str = GENERATED
    settings: Mapping[str, Any] = field(default_factory=dict)  # settings of the request

    def as_json(self) -> dict[str, Any]:
        """Return the fields, without settings where there are none."""
        told = asdict(self)
        return told if self.settings else {n: v for n, v in told.items() if n != "settings"}

    def of(self, number: int | None) -> "Mark":
        """Return the mark of image ``number``."""
        return replace(self, number=number)


class Reading(NamedTuple):
    """Provenance found in a file."""

    mark: Mark | None  # souron's mark
    source_type: str  # IPTC's source type, whoever wrote it; "" where there is none


def mark(
    folder: Path,
    args: Mapping[str, Any],
    seed: int,
    settings: Mapping[str, Any] | None = None,
    weights: Path | None = None,
) -> Mark:
    """Return the mark of a run's output; ``mark(...).of(7)`` is that of image 7.

    ``settings``: those of the request, such as ``prompt`` and ``steps``; of a ``Path`` only the
    name is kept. ``weights``: the file of a published model, in place of the run's. Raises
    UserError for settings too long for any file.
    """
    return Mark(
        "souron",
        souron.__version__,
        _clean(args["system"]),
        _clean(Path(str(args["data"])).name),
        weights_hash(weights) if weights else run_hash(folder),
        seed,
        settings=kept_settings(settings or {}),
    )


def of_published(system: str, seed: int, settings: Mapping[str, Any]) -> Mark:
    """Return the mark of the output of published weights. Raises as ``mark`` does."""
    kept = kept_settings(settings)
    return Mark("souron", souron.__version__, _clean(system), PUBLISHED, PUBLISHED, seed, settings=kept)


def kept_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Convert settings to JSON values. Raises UserError where they are too long."""
    kept = {name: _plain(value) for name, value in settings.items()}
    long = len(json.dumps(kept))
    if long > LONGEST_SETTINGS:
        longest = max(kept, key=lambda name: len(json.dumps(kept[name])))
        raise UserError(
            "too large",
            _("{name} is too long to be kept in the file").format(name=longest),
            expected=_("all settings in at most {count} characters").format(count=LONGEST_SETTINGS),
        )
    return kept


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.name if isinstance(value, Path) else str(value)


def run_hash(folder: Path) -> str:
    """Return the hash of a run's weights, 16 hexadecimal digits."""
    return weights_hash(folder / "weights" / "best.safetensors")


def weights_hash(weights: Path) -> str:
    """Return the hash of a file of weights, 16 hexadecimal digits."""
    with weights.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def save(image: Image.Image, path: Path, mark: Mark, **options: Any) -> None:
    """Write an image with its mark.

    ``options`` are those of Pillow's ``save``; without ``format`` the name decides. Raises
    UserError for formats that carry no mark.
    """
    known = Image.registered_extensions()
    kind = str(options.pop("format", None) or known.get(path.suffix.lower(), "")).upper()
    kind = {"JPG": "JPEG"}.get(kind, kind)
    text = json.dumps(mark.as_json())  # ASCII: Exif and GIF support no other characters
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
            _("{path}: images of this kind carry no mark").format(path=path),
            expected=", ".join(FORMATS),
            fix=str(path.with_suffix(".png").name),
        )


def add(path: Path, mark: Mark) -> None:
    """Add the mark to an existing sound (WAV), score (MIDI), video (MP4), page (HTML) or PNG.

    Raises UserError for other files, and for truncated ones.
    """
    text = json.dumps(mark.as_json())
    kind = containers.kind_of(path)
    if kind:
        containers.add(path, kind, text, xmp(mark), mark.digital_source_type)
        return
    look(path)  # raises unless it is a readable image
    raw = path.read_bytes()
    if not raw.startswith(b"\x89PNG\r\n\x1a\n"):
        raise trouble(
            path, "format", _("a mark is not added to files of this kind"), ", ".join(("PNG", *containers.READERS))
        )
    told = {"Software": f"{mark.software} {mark.version}", PNG_KEY: text, "XML:com.adobe.xmp": xmp(mark)}
    begin = 8 + 12 + int.from_bytes(raw[8:12])  # after its header
    chunks = b"".join(_png_text(name, value) for name, value in told.items())
    with atomically(path) as beside:
        beside.write_bytes(raw[:begin] + chunks + raw[begin:])


def _png_text(name: str, text: str) -> bytes:
    """Return a PNG text chunk, uncompressed, without a language."""
    body = b"iTXt" + name.encode() + b"\0\0\0\0\0" + text.encode()
    return (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)


def xmp(mark: Mark) -> str:
    """Return the mark as an XMP packet (ISO 16684-1)."""
    fields = {**mark.as_json(), "settings": None}
    own = "".join(
        f' souron:{name}="{html.escape(str(value))}"'
        for name, value in fields.items()
        if value is not None and name != SOURCE_TYPE
    )
    if mark.settings:
        whole = json.dumps(dict(mark.settings), ensure_ascii=False).encode("utf-8", "replace")
        text = html.escape(whole.decode())
        if len(text.encode()) <= LONGEST_IN_XMP:
            own += f' souron:settings="{text}"'
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmlns:souron="{SPACE}"'
        f' xmp:CreatorTool="{html.escape(f"{mark.software} {mark.version}")}"'
        f' Iptc4xmpExt:DigitalSourceType="{html.escape(mark.digital_source_type)}"{own}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )


def _with_xmp(gif: bytes, packet: bytes) -> bytes:
    """Insert an XMP extension into a GIF after its header, which Pillow does not write.

    Readers that skip it interpret the packet's bytes as block lengths; the 258 bytes at its end
    catch them at any offset (Adobe: XMP Specification Part 3, Storage in Files, GIF).
    """
    colours = gif[10]
    start = 13 + (3 * 2 ** ((colours & 7) + 1) if colours & 0x80 else 0)
    caught = bytes([1, *range(255, -1, -1), 0])
    return gif[:start] + b"\x21\xff\x0bXMP DataXMP" + packet + caught + gif[start:]


def read(path: Path) -> Mark | None:
    """Read souron's mark; None where the file has none, which proves nothing. Raises UserError."""
    return look(path).mark


def settings_of(path: Path) -> dict[str, Any]:
    """Return the settings with which souron generated a file, including its seed.

    Raises UserError, also where the file carries no mark.
    """
    found = read(path)
    if found is None:
        raise trouble(
            path, "no mark", _("it does not say how it was made"), _("a file that souron generated, as it was saved")
        )
    return {"seed": found.seed, **found.settings}


def look(path: Path) -> Reading:
    """Read the provenance of a file without decoding it. Raises UserError."""
    kind = containers.kind_of(path)
    texts, packet = containers.read(path, kind) if kind else _of_image(path)
    marks = (read_mark(text) for text in (*texts, packet))
    found = next((one for one in marks if one is not None), None)
    said = re.search(r"DigitalSourceType\W[^<>]{0,80}?(https?://[\w.:/#-]{1,150})", packet)
    source = found.digital_source_type if found else said[1] if said else ""
    return Reading(found, source)


def _of_image(path: Path) -> containers.Texts:
    try:
        with opened(path) as image:
            if isinstance(image, Image.Image):
                return containers.Texts(list(_texts(image)), _xmp_of(image))
            return containers.Texts([], "")  # DICOM
    except UserError as error:
        raise containers.unknown(path) if error.code == "not an image" else error from error


def _texts(image: Image.Image) -> Iterator[str]:
    """Yield texts that may be our own JSON."""
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
    """Parse the mark in a JSON text or an XMP packet; None where there is none.

    Texts are untrusted: no XML is parsed, long ones are skipped, fields are cut and freed of
    control characters.
    """
    if text.lstrip().startswith("{"):
        try:
            fields = json.loads(text) if len(text) <= LONGEST else {}
        except (ValueError, RecursionError):
            return None
    else:
        pairs = re.findall(r'souron:(\w{1,40})="([^"]{0,130000})"', text[:LONGEST_XMP])
        fields = {name: html.unescape(value) for name, value in pairs}
        fields[SOURCE_TYPE] = EDITED if f'DigitalSourceType="{EDITED}"' in text else ""
    try:
        number = fields.get("number")
        texts = {name: _clean(fields[name]) for name in TEXTS}
        return Mark(
            **texts,
            seed=_whole(fields["seed"]),
            number=None if number is None else _whole(number),
            generated=str(fields["generated"]).lower() == "true",
            digital_source_type=EDITED if fields.get(SOURCE_TYPE) == EDITED else GENERATED,
            settings=_settings(fields.get("settings")),
        )
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        return None


def _settings(given: Any) -> dict[str, Any]:
    """Return the valid settings of an untrusted file."""
    if isinstance(given, str):  # from XMP
        try:
            given = json.loads(given) if len(given) <= LONGEST else {}
        except (ValueError, RecursionError):
            return {}
    if not isinstance(given, dict):
        return {}
    rows = list(given.items())[:MOST_SETTINGS]
    return {name: _value(value) for name, value in rows if SETTING.fullmatch(name)}


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(each) for each in value[:MOST_ITEMS] if not isinstance(each, list | dict)]
    if isinstance(value, dict):
        return None
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in value)
    return value


def _clean(value: Any) -> str:
    text = str(value)[:LONGEST_FIELD]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _whole(value: Any) -> int:
    number = int(value)
    if abs(number) >= 2**63:
        raise ValueError("no number of ours")
    return number
