"""The terminal that the demo writes to."""

from __future__ import annotations

from rich.console import Console

console = Console(highlight=False)
