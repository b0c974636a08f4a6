"""Compare image ciphers: ``python -m benchmarks.compare`` measures, prints the tables and writes docs/COMPARISON.md.

``--render`` writes the page again from the last results, without measuring.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.baselines.aes import AesGcm
from benchmarks.baselines.dea import Dea
from benchmarks.baselines.deepedn import RESULTS, DeepEdn, trained
from benchmarks.baselines.generator import Recipe
from benchmarks.baselines.josephus import Josephus
from benchmarks.baselines.literal import Literal
from benchmarks.baselines.ours import ChaosCnn, Hybrid
from benchmarks.baselines.scheme import Scheme
from benchmarks.baselines.two_maps import TwoMaps
from benchmarks.comparison import picture
from benchmarks.comparison.document import Remark, write_document
from benchmarks.comparison.image import all_compared, for_training
from benchmarks.comparison.measurement import measure
from benchmarks.comparison.remark import REMARKS
from benchmarks.comparison.result import Comparison

DOCS = Path(__file__).resolve().parent.parent / "docs"
JSON = RESULTS / "comparison.json"


def schemes() -> list[Scheme]:
    """All schemes in the order of the tables; the network is trained if it is not there yet."""
    network = trained(for_training(), Recipe())
    return [Literal(), TwoMaps(), Dea(), Josephus(), network, ChaosCnn(), Hybrid(), AesGcm()]


def compare(chosen: Sequence[Scheme]) -> Comparison:
    """Measure the schemes one after the other, and say how far it is."""
    pictures = all_compared()
    results = []
    for scheme in chosen:
        start = perf_counter()
        results.append(measure(scheme, pictures))
        print(f"{scheme.name}: {perf_counter() - start:.0f} s", flush=True)
    names = {
        str(side): [f"{one.name.split('/', 1)[-1]} ({one.bits_stored})" for one in part]
        for side, part in pictures.items()
    }
    return Comparison(names, results)


def remarks(network: DeepEdn) -> dict[str, Remark]:
    """The remarks, with the size of the network's key filled in."""
    filled = dict(REMARKS)
    one = filled[network.name]
    filled[network.name] = Remark(one.depths, one.apart.format(key_bytes=f"{network.key_bytes:,}"), one.text)
    return filled


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.split("\n")[0])
    parser.add_argument("--render", action="store_true", help=f"write the page from {JSON.name} of the last run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # speed is that of one core
    all_schemes = schemes()
    if not arguments.render:
        comparison = compare(all_schemes)
        JSON.parent.mkdir(exist_ok=True)
        JSON.write_text(json.dumps(comparison.to_dict(), indent=1) + "\n")
    comparison = Comparison.from_dict(json.loads(JSON.read_text()))
    (network,) = (scheme for scheme in all_schemes if isinstance(scheme, DeepEdn))
    page = write_document(comparison, remarks(network))
    (DOCS / "COMPARISON.md").write_text(page)
    picture.draw(all_schemes, DOCS / "images" / "comparison.png")
    print(page)


if __name__ == "__main__":
    main()
