"""A routing predicate: some modalities only, ``destination.predicates = ["modality:CT,MR"]``."""

from __future__ import annotations

from pydicom.dataset import Dataset

from iomt_crypt.errors import ConfigurationError


class ModalityRoute:
    """Accepts objects whose Modality (0008,0060) is one of those named."""

    def __init__(self, modalities: frozenset[str]) -> None:
        self._modalities = modalities

    def accepts(self, header: Dataset) -> bool:
        """``header`` is the clear header of the encrypted object."""
        return str(header.get("Modality", "")) in self._modalities


def open_route(argument: str) -> ModalityRoute:
    """What follows ``modality:`` in ``destination.predicates``."""
    modalities = frozenset(word.strip() for word in argument.split(",") if word.strip())
    if not modalities:
        raise ConfigurationError("no modality is named", hint="modality:CT,MR")
    return ModalityRoute(modalities)
