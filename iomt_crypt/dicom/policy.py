"""What may vary between sites: suite, UIDs, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.seal import DEFAULT_SUITE, SUITES

MAX_VALUE_BYTES = (1 << 32) - 2  # PS3.5 7.1.1: the largest defined length of an element
# What an object may grow to while it is worked on. A blank slide of JPEG swells about 130 times, CTs 2 to 4 times, a
# small blank image of JPEG 2000 thousands of times: the factor is for what is large, the allowance for what is small.
MAX_EXPANSION = 100
EXPANSION_ALLOWANCE_BYTES = 1 << 27


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
    max_expansion, expansion_allowance_bytes
        what may become of few bytes: compressed pixels of n bytes get a raster of at most ``expansion_allowance_bytes +
        max_expansion * n`` bytes, and a deflated data set of n bytes is inflated to as many; what needs more is refused
        before it costs anything. Each unit of the raster counts as 8 KiB more, for the time it takes.
    """

    suite: str = DEFAULT_SUITE
    uids: Literal["derive", "keep"] = "derive"
    site_key: bytes | None = field(default=None, repr=False)
    max_pixel_bytes: int = MAX_VALUE_BYTES
    max_expansion: int = MAX_EXPANSION
    expansion_allowance_bytes: int = EXPANSION_ALLOWANCE_BYTES

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
        if self.max_expansion < 1 or self.expansion_allowance_bytes < 0:
            raise ConfigurationError(
                f"max_expansion must be 1 or more, expansion_allowance_bytes 0 or more, "
                f"got {self.max_expansion} and {self.expansion_allowance_bytes}"
            )

    def allowed_bytes(self, size_bytes: int) -> int:
        """What ``size_bytes`` of an object may become in memory and on disk."""
        return self.expansion_allowance_bytes + self.max_expansion * size_bytes
