import base64
import hashlib

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"BM", 0, "image/bmp"),
    (b"II*\x00", 0, "image/tiff"),
    (b"MM\x00*", 0, "image/tiff"),
)


def _mime_of(content):
    for signature, offset, mime in _SIGNATURES:
        if content[offset:offset + len(signature)] == signature:
            return mime
    return "image/*"


class PFBytes(bytes):
    """Bytes that know their type and where they came from."""

    def __new__(cls, value, *args, **kwargs):
        return super().__new__(cls, value)

    def __init__(self, value, mime_type, source_url=None):
        super().__init__()
        self._hash = hashlib.sha1(value, **_NOT_FOR_SECURITY).hexdigest()[:8]
        self._mime_type = mime_type.lower()
        self._source_url = source_url

    @property
    def source_url(self):
        return self._source_url

    def to_base64(self, with_type=False):
        text = base64.b64encode(self).decode("ascii")
        return "data:%s;base64,%s" % (self._mime_type, text) if with_type else text


class Image(PFBytes):
    """An image: bytes with a type."""

    def __init__(self, value, mime_type=None, source_url=None):
        super().__init__(value, mime_type or _mime_of(value), source_url)

    def __str__(self):
        return "Image(%s)" % self._hash

    __repr__ = __str__

    def serialize(self, encoder=None):
        return str(self) if encoder is None else encoder(self)


class Text(str):
    """Text of an assistant, with its annotations."""

    def __new__(cls, value, annotations=None):
        text = str.__new__(cls, value)
        text._annotations = annotations
        return text


_NOT_FOR_SECURITY = {"usedforsecurity": False}
