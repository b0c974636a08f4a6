"""A check of the site's own: ``checks.own = ["iomt_crypt_example.check:RejectBurnedInd"]``.

A MONAI dictionary transform that the guard calls after all others. Its class is named, so it needs no entry point.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms.transform import MapTransform
from pydicom import dcmread

from iomt_crypt.errors import PlainImageError


class RejectBurnedInd(MapTransform):
    """Stops objects that say Burned In Annotation (0028,0301) YES: names in their pixels come back with the originals.

    ``d["object"]`` is the encrypted object as a stream; ``d["cells"]`` and what other checks found are there too.
    """

    def __init__(self, keys: str = "object", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key].seek(0)
            header = dcmread(d[key], stop_before_pixels=True)
            if header.get("BurnedInAnnotation", "") == "YES":
                raise PlainImageError("Burned In Annotation (0028,0301) is YES")
            d[key].seek(0)
        return d
