"""The file of the results, so that the document can be written again without measuring."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.ablation.attack import Outcome
from benchmarks.ablation.measurement import METRICS
from benchmarks.ablation.study import Result
from iomt_crypt import cipher

FILE = Path(__file__).with_name("result.json")


def fingerprint() -> str:
    """Return a digest of the cipher: what it makes of two frames."""
    digest = hashlib.sha256()
    for dtype in (np.uint8, np.uint16):
        digest.update(cipher.encrypt(np.zeros((64, 64), dtype), bytes(32), backend="reference").tobytes())
    return digest.hexdigest()[:16]


def write(results: dict[str, Result], file: Path = FILE) -> None:
    """Write results as JSON, values to six significant digits."""
    document = {
        "cipher": fingerprint(),
        "metrics": METRICS,
        "results": {
            name: {
                "values": [[[float(f"{v:.6g}") for v in group] for group in key] for key in result.values.tolist()],
                "outcomes": [[asdict(outcome) for outcome in outcomes] for outcomes in result.outcomes],
            }
            for name, result in results.items()
        },
    }
    text = json.dumps(document, separators=(",", ":"))
    # One key of one variant to a line.
    file.write_text(text.replace("]],[[", "]],\n[[").replace('},"', '},\n"') + "\n")


def read(file: Path = FILE) -> dict[str, Result]:
    """Read what `write` wrote.

    Raises
    ------
    ValueError
        It was measured with another cipher, or other metrics.
    """
    document = json.loads(file.read_text())
    if document["cipher"] != fingerprint() or tuple(document["metrics"]) != METRICS:
        raise ValueError(
            f"{file.name} is of another cipher or other metrics; run: python -m benchmarks.ablation measure"
        )
    return {
        name: Result(
            np.array(entry["values"], np.float64),
            [[Outcome(**outcome) for outcome in outcomes] for outcomes in entry["outcomes"]],
        )
        for name, entry in document["results"].items()
    }
