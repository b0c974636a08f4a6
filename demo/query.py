"""Query matching over a list of headers: the hierarchical Study Root search (PS3.4 C.2.2.2, C.4.1.3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

_LEVELS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
# Never matched: they steer the query, or are counted for the answer.
_NOT_KEYS = {
    "QueryRetrieveLevel",
    "SpecificCharacterSet",
    "RetrieveAETitle",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances",
}


def matching(identifier: Dataset, headers: Iterable[Dataset]) -> list[Dataset]:
    """The headers that match every key: UID lists, wildcards, ranges, and empty keys that match everything."""
    keys = [element for element in identifier if element.keyword not in _NOT_KEYS and element.VR != "SQ"]
    return [header for header in headers if all(_matches(key, header) for key in keys)]


def in_order(headers: Iterable[Dataset]) -> list[Dataset]:
    """By series and instance number."""
    return sorted(headers, key=lambda ds: (int(ds.get("SeriesNumber") or 0), int(ds.get("InstanceNumber") or 0)))


def answers(identifier: Dataset, headers: Iterable[Dataset], ae_title: str) -> list[Dataset]:
    """One answer for each entity of the level asked for, with the elements asked for.

    Raises
    ------
    ValueError
        *Query/Retrieve Level* is not STUDY, SERIES or IMAGE.
    """
    level = str(identifier.get("QueryRetrieveLevel", ""))
    if level not in _LEVELS:
        raise ValueError(f"Query/Retrieve Level {level!r} is not one of {', '.join(_LEVELS)}")
    entities: dict[str, list[Dataset]] = {}
    for header in in_order(matching(identifier, headers)):
        entities.setdefault(str(header.get(_LEVELS[level], "")), []).append(header)
    return [_answer(identifier, level, members, ae_title) for members in entities.values()]


def _answer(identifier: Dataset, level: str, members: list[Dataset], ae_title: str) -> Dataset:
    answer = Dataset()
    first = members[0]
    for element in identifier:
        known = first.get(element.tag)
        answer[element.tag] = known if known is not None else DataElement(element.tag, element.VR, None)
    if "SpecificCharacterSet" in first:
        answer.SpecificCharacterSet = first.SpecificCharacterSet
    answer.QueryRetrieveLevel, answer.RetrieveAETitle = level, ae_title
    answer[_LEVELS[level]] = first[_LEVELS[level]]
    counted = {
        "ModalitiesInStudy": sorted({str(ds.get("Modality", "")) for ds in members}),
        "NumberOfStudyRelatedSeries": len({ds.get("SeriesInstanceUID") for ds in members}),
        "NumberOfStudyRelatedInstances": len(members),
        "NumberOfSeriesRelatedInstances": len(members),
    }
    for keyword, value in counted.items():
        if keyword in identifier:
            setattr(answer, keyword, value)
    return answer


def _matches(key: DataElement, header: Dataset) -> bool:
    if key.is_empty:
        return True
    element = header.get(key.tag)
    if element is None or element.is_empty:
        return False
    wanted = [str(value) for value in (key.value if key.VM > 1 else [key.value])]
    present = [str(value) for value in (element.value if element.VM > 1 else [element.value])]
    if key.VR in ("DA", "TM", "DT") and "-" in wanted[0]:
        low, _, high = wanted[0].partition("-")
        return any((not low or low <= value) and (not high or value <= high) for value in present)
    if key.VR in ("UI", "DA", "TM", "DT", "IS", "DS"):
        return any(value in wanted for value in present)
    # Brackets are no wildcards in DICOM.
    patterns = [text.replace("[", "[[]") for text in wanted]
    return any(fnmatchcase(value, pattern) for value in present for pattern in patterns)
