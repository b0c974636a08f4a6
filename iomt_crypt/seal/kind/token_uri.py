"""PKCS#11 URIs (RFC 7512): which object of which token, by which module, and where its PIN is.

``pkcs11:token=archive;object=iomt;type=secret-key?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/iomt/pin``
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from iomt_crypt.errors import KeyMaterialError

PREFIX = "pkcs11:"
TYPES = ("secret-key", "private", "public", "cert")

# RFC 7512, 2.3: unreserved and the reserved characters that need no percent sign
_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=-]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/?|-]|%[0-9A-Fa-f]{2})*")
_TOKEN_ATTRIBUTES = ("token", "serial", "manufacturer", "model")
_PATH_ATTRIBUTES = (*_TOKEN_ATTRIBUTES, "object", "id", "type")
_QUERY_ATTRIBUTES = ("module-path", "pin-source")


@dataclass(frozen=True)
class TokenUri:
    """What a PKCS#11 URI says. None: it says nothing of that.

    token, serial, manufacturer, model
        of the token, as the module reports them
    object, id
        label and identifier of the key or certificate
    type
        one of `TYPES`
    module_path, pin_source
        absolute paths
    """

    token: str | None
    serial: str | None
    manufacturer: str | None
    model: str | None
    object: str | None
    id: bytes | None
    type: str | None
    module_path: Path
    pin_source: Path | None

    @property
    def token_name(self) -> str:
        """What to call the token in a message."""
        return self.token or self.serial or self.model or self.manufacturer or ""

    @property
    def object_name(self) -> str:
        """What to call the object in a message."""
        parts = [self.object or "", f"id {self.id.hex()}" if self.id is not None else "", self.type or ""]
        return " ".join(part for part in parts if part)


def parse_uri(text: str) -> TokenUri:
    """Parse strictly: what is not understood is refused, because a URI names who can decrypt.

    Raises
    ------
    KeyMaterialError
        Not a PKCS#11 URI, an attribute that is unknown, twice, or has a wrong value; a PIN in the URI; no module, no
        token or no object named. Values are not repeated: one of them may be a PIN in the wrong place.
    """
    if text[: len(PREFIX)].lower() != PREFIX:
        raise KeyMaterialError(f"not a PKCS#11 URI: it begins with {PREFIX}")
    path, _, query = text[len(PREFIX) :].partition("?")
    here = _attributes(path.split(";"), _PATH_ATTRIBUTES, _VALUE)
    there = _attributes(query.split("&"), _QUERY_ATTRIBUTES, _QUERY_VALUE)
    if not any(name in here for name in _TOKEN_ATTRIBUTES):
        raise _wrong("no token is named", "token=LABEL, as 'pkcs11-tool --list-slots' shows it")
    if "object" not in here and "id" not in here:
        raise _wrong("no key is named", "object=LABEL or id=%01, as 'pkcs11-tool --list-objects' shows it")
    if "module-path" not in there:
        raise _wrong("no module is named", "?module-path=/usr/lib/.../module.so, the library of the token's maker")
    return TokenUri(
        **{name: _text(here, name) for name in _TOKEN_ATTRIBUTES},
        object=_text(here, "object"),
        id=here.get("id"),
        type=_one_of(_text(here, "type"), TYPES),
        module_path=_path(there, "module-path"),
        pin_source=_path(there, "pin-source") if "pin-source" in there else None,
    )


def _attributes(parts: list[str], known: tuple[str, ...], value_form: re.Pattern[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in parts:
        if not part:
            continue
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise _wrong("the PIN is in it", "put it into a file of mode 0600 and name that: pin-source=/path/to/pin")
        if name not in known:
            # Anything might stand here, a PIN too.
            shown = name if re.fullmatch(r"[a-z-]{1,24}", name) and equals else "without a name"
            raise _wrong(f"attribute {shown} is not known here", f"known: {', '.join(known)}")
        if name in found:
            raise _wrong(f"{name} is given twice")
        if not value or not value_form.fullmatch(value):
            raise _wrong(f"the value of {name} is empty or has characters that need a percent sign", "RFC 7512, 2.3")
        found[name] = unquote_to_bytes(value)
    return found


def _text(attributes: dict[str, bytes], name: str) -> str | None:
    if name not in attributes:
        return None
    try:
        text = attributes[name].decode("utf-8")
    except UnicodeDecodeError:
        raise _wrong(f"the value of {name} is not UTF-8") from None
    if not text.isprintable():
        raise _wrong(f"the value of {name} has control characters")
    return text


def _one_of(text: str | None, allowed: Iterable[str]) -> str | None:
    if text is not None and text not in allowed:
        raise _wrong("the type is not known", f"type is one of: {', '.join(allowed)}")
    return text


def _path(attributes: dict[str, bytes], name: str) -> Path:
    """Absolute, as RFC 7512 wants a module's path to be: no search path decides what is loaded."""
    text = _text(attributes, name) or ""
    path = Path(re.sub(r"^file:(//(?=/))?", "", text))
    if text.startswith("|") or not path.is_absolute():
        raise _wrong(f"{name} is not an absolute path", f"{name}=/path/to/file")
    return path


def _wrong(message: str, hint: str = "") -> KeyMaterialError:
    return KeyMaterialError(f"PKCS#11 URI: {message}", hint=hint)
