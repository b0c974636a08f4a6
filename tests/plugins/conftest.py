"""Plug-ins are packages of their own, beside the package they use."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "orthanc"))
