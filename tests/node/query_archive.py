"""An archive that answers C-FIND and C-GET, and can do both badly."""

from __future__ import annotations

import io

from node_harness import Archive
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context


class QueryArchive:
    """What an archive has, with C-FIND and C-GET over it."""

    def __init__(self, syntax: str | None = None) -> None:
        self.objects: list[Dataset] = []
        self.withheld: set[str] = set()
        self.surplus: list[Dataset] = []  # sent with every series
        self.breaks = False  # a C-GET ends at the first object that cannot be sent
        self.names_classes = True
        self.unlistable = ""  # "class": C-FIND fails when asked for the classes of a series; "list": always
        self.get_status: int | None = None
        syntaxes = [syntax] if syntax else None
        contexts = [build_context(c.abstract_syntax, syntaxes) for c in AllStoragePresentationContexts]
        for context in contexts:
            context.scu_role = context.scp_role = True
        contexts += [build_context("1.2.840.10008.5.1.4.1.2.2.1"), build_context("1.2.840.10008.5.1.4.1.2.2.3")]
        self.archive = Archive(
            contexts=contexts, handlers=[(evt.EVT_C_FIND, self._on_find), (evt.EVT_C_GET, self._on_get)]
        )

    def add(self, content: bytes) -> None:
        self.objects.append(dcmread(io.BytesIO(content)))

    def _matches(self, identifier: Dataset) -> list[Dataset]:
        found = [ds for ds in self.objects if ds.StudyInstanceUID == identifier.StudyInstanceUID]
        series, instance = identifier.get("SeriesInstanceUID"), identifier.get("SOPInstanceUID")
        found = [ds for ds in found if not series or ds.SeriesInstanceUID == series]
        return [ds for ds in found if not instance or ds.SOPInstanceUID == instance]

    def _on_find(self, event):
        identifier = event.identifier
        broken = identifier.QueryRetrieveLevel == "IMAGE" and (
            self.unlistable == "list" or (self.unlistable == "class" and "SOPClassUID" in identifier)
        )
        seen = set()
        for ds in self._matches(identifier):
            if broken and ds.SOPInstanceUID in self.withheld:
                yield 0xC000, None
                return
            answer = Dataset()
            answer.QueryRetrieveLevel = identifier.QueryRetrieveLevel
            answer.SeriesInstanceUID = ds.SeriesInstanceUID
            if identifier.QueryRetrieveLevel == "IMAGE":
                answer.SOPInstanceUID = ds.SOPInstanceUID
                if self.names_classes:
                    answer.SOPClassUID = ds.SOPClassUID
            key = answer.get("SOPInstanceUID", answer.SeriesInstanceUID)
            if key not in seen:
                seen.add(key)
                yield 0xFF00, answer

    def _on_get(self, event):
        matches = self._matches(event.identifier)
        found = [ds for ds in matches if ds.SOPInstanceUID not in self.withheld]
        if event.identifier.QueryRetrieveLevel == "SERIES":
            found += self.surplus
        yield len(found)
        if self.get_status is not None:
            yield self.get_status, None
            return
        for ds in matches if self.breaks else found:
            if ds.SOPInstanceUID in self.withheld:
                yield 0xC000, None
                return
            yield 0xFF00, ds
