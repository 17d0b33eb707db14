"""Every way in which a secret may be written down, for tests that look for it."""

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus

SAFE = ["", "/", "~", "!'()*~", "/:@!$&'()*+,;=", "-_.!~*'()"]


def lower_hex(text):
    return re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), text)


def utf16_escapes(text, form="04x"):
    raw = text.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(raw[at : at + 2]):{form}}" for at in range(0, len(raw), 2))


def spellings(secret):
    inner = json.dumps(secret)[1:-1]
    yield secret
    for safe in SAFE:
        yield quote(secret, safe=safe)
        yield quote_plus(secret, safe=safe)
        yield lower_hex(quote(secret, safe=safe))
        yield quote(quote(secret, safe=safe), safe="")
    yield inner
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield json.dumps(inner)[1:-1]
    yield inner.replace("/", "\\/").replace("<", "\\u003c").replace(">", "\\u003E").replace("&", "\\u0026")
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield secret.encode("ascii", "xmlcharrefreplace").decode()
    yield "".join(f"&#x{ord(one):X};" if not one.isalnum() else one for one in secret)
    yield utf16_escapes(secret)
    yield utf16_escapes(secret, "04X")
    yield utf16_escapes(secret).replace("\\", "\\\\")
    for form in ("&#{};", "&#x{:x};", "&#X{:X};", "&#x{:04x};", "&amp;#{};"):
        yield "".join(form.format(ord(one)) for one in secret)
    yield html.escape(html.escape(secret))
    for form in ("%{:02x}", "%{:02X}"):
        yield "".join(form.format(byte) for byte in secret.encode())
    yield secret.encode().hex()
    yield secret.encode().hex().upper()


def in_base64(secret):
    """Yield the part of a base64 text that belongs to the secret alone, for each place on its grid."""
    data = secret.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            one, other = (encode(byte * shift + data + byte * 3).decode() for byte in (b"\0", b"\xff"))
            yield "".join(a for a, b in zip(one, other, strict=True) if a == b)
