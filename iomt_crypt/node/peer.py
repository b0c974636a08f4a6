"""The name of a DICOM peer: ``AET@HOST:PORT``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from iomt_crypt.errors import ConfigurationError

# PS3.5 6.2: AE is 16 characters of the default repertoire without backslash and control characters;
# PS3.8 9.3.2 has leading and trailing spaces without meaning, so a title of spaces is none.
_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
_PEER = re.compile(r"(?P<aet>[^@]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\[\]]+):(?P<port>[0-9]{1,5})")


def is_ae_title(text: str) -> bool:
    """Tell whether ``text`` is an AE title (PS3.5 6.2): 1 to 16 characters, not all of them spaces."""
    return bool(_AE_TITLE.fullmatch(text)) and bool(text.strip())


@dataclass(frozen=True)
class Peer:
    """Where a DICOM application entity listens.

    ``port`` is 1 to 65535; ``host`` is a name or an address, IPv6 without brackets.
    """

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Peer:
        """Read ``AET@HOST:PORT``; an IPv6 address goes into brackets.

        Raises
        ------
        ConfigurationError
            When ``text`` has another form, or a part is outside its range.
        """
        hint = "write it as AET@HOST:PORT, for example ARCHIVE@10.0.0.5:104"
        match = _PEER.fullmatch(text)
        if match is None:
            raise ConfigurationError(f"peer {text!r} is not of the form AET@HOST:PORT", hint=hint)
        aet, port = match["aet"], int(match["port"])
        if not is_ae_title(aet):
            raise ConfigurationError(f"AE title {aet!r} is not 1 to 16 printable characters (PS3.5 6.2)", hint=hint)
        if not 1 <= port <= 65535:
            raise ConfigurationError(f"port {port} is outside 1 to 65535", hint=hint)
        return cls(ae_title=aet, host=match["host"].strip("[]"), port=port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"
