"""What may vary between sites: suite, UIDs, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.seal import DEFAULT_SUITE, SUITES

MAX_VALUE_BYTES = (1 << 32) - 2  # PS3.5 7.1.1: the largest defined length of an element


@dataclass(frozen=True)
class Policy:
    """How objects are encrypted.

    suite
        ``"hybrid-1"`` (default) or ``"chaos-cnn-1"`` (research)
    uids
        ``"derive"``: SOP Instance and Series UIDs are replaced by keyed ones, the same everywhere and in every
        reference; Study Instance UIDs stay. ``"keep"``: all UIDs stay.
    site_key
        32 bytes under which UIDs are derived. None: the user's own, made on first use.
    max_pixel_bytes
        largest encrypted pixel value to write; an object that needs more is refused
    """

    suite: str = DEFAULT_SUITE
    uids: Literal["derive", "keep"] = "derive"
    site_key: bytes | None = field(default=None, repr=False)
    max_pixel_bytes: int = MAX_VALUE_BYTES

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise ConfigurationError(f"suite {self.suite!r} is unknown", hint=f"one of: {', '.join(SUITES)}")
        if self.uids not in ("derive", "keep"):
            raise ConfigurationError(f"uids {self.uids!r} is unknown", hint="one of: derive, keep")
        if self.site_key is not None and len(self.site_key) != 32:
            raise ConfigurationError(f"site_key must be 32 bytes, got {len(self.site_key)}")
        if not 1 <= self.max_pixel_bytes <= MAX_VALUE_BYTES:
            raise ConfigurationError(
                f"max_pixel_bytes must be 1 to {MAX_VALUE_BYTES} (PS3.5 7.1.1), got {self.max_pixel_bytes}"
            )
