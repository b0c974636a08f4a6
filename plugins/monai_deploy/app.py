"""Example: encrypted study in, a result computed in memory, encrypted result out. Nothing is on a disk in clear."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Fragment, Operator, OperatorSpec
from pydicom import dcmread
from pydicom.uid import generate_uid
from study_operator import DecryptStudyOperator, EncryptStudyOperator


class NegativeOperator(Operator):  # type: ignore[misc]  # the SDK has no types
    """In place of a network: each image's negative, as a series of its own beside the decrypted ones."""

    def __init__(self, fragment: Fragment, *args: Any, **kwargs: Any) -> None:
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("folder")
        spec.output("folder")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        source = Path(op_input.receive("folder"))
        results = source / "results"  # below the decrypted study, so it goes with it
        results.mkdir()
        series = generate_uid()
        for path in sorted(source.glob("*.dcm")):
            image = dcmread(path)
            image.PixelData = bytes(255 - byte for byte in image.PixelData)
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            image.SeriesInstanceUID = series
            image.save_as(results / path.name)
        op_output.emit(results, "folder")


class NegativeApp(Application):  # type: ignore[misc]
    """``app.py INPUT OUTPUT IDENTITY RECIPIENT SITE_KEY``."""

    def compose(self) -> None:
        source, target, identity, recipient, site_key = sys.argv[1:6]
        once = CountCondition(self, 1)
        decrypt = DecryptStudyOperator(self, once, identities=[identity], input_folder=source, name="decrypt")
        negative = NegativeOperator(self, name="negative")
        encrypt = EncryptStudyOperator(
            self, output_folder=target, recipients=[recipient], site_key=site_key, name="encrypt"
        )
        self.add_flow(decrypt, negative, {("folder", "folder")})
        self.add_flow(negative, encrypt, {("folder", "folder")})


if __name__ == "__main__":
    NegativeApp([sys.argv[0]]).run()
