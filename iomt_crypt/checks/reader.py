"""A MONAI image reader that opens encrypted DICOM files as if they were plain."""

from __future__ import annotations

import copy
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy.typing as npt
from monai.data.image_reader import PydicomReader
from pydicom import FileDataset, dcmread
from pydicom.errors import InvalidDicomError

from iomt_crypt.checks.key import Given, Opener
from iomt_crypt.dicom import Headers, Source, block
from iomt_crypt.dicom.clear import DERIVATION
from iomt_crypt.dicom.file import open_input
from iomt_crypt.dicom.parse import raw_value
from iomt_crypt.dicom.restore import restore_source
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.errors import (
    ConfigurationError,
    InputError,
    IomtCryptError,
    MalformedError,
    NotDicomError,
    NotEncryptedError,
)
from iomt_crypt.seal import Identity, Keyring
from iomt_crypt.seal.container import MAGIC

Plain = Literal["read", "refuse"]
Name = str | PathLike[str]
_SAYS_ENCRYPTED = b"encrypted by iomt-crypt"
_Slices = tuple[list[FileDataset], list[str]]


@dataclass(frozen=True)
class _Read:
    """What `EncryptedDicomReader.read` gives to `get_data`: data sets as MONAI's reader wants them, or what failed."""

    data: Any = None
    filenames: tuple[Any, ...] = ()
    has_series: bool = False
    error: IomtCryptError | None = None


class EncryptedDicomReader(PydicomReader):
    """Reads encrypted DICOM objects, decrypted in memory, for `monai.transforms.LoadImage` and `LoadImaged`.

    Array, affine and meta data are those that MONAI's `PydicomReader` gives for the plain files. As there, a folder is
    a series, its slices in the order of Instance Number along the last axis; a list of files is stacked to channels;
    the first two axes are swapped unless ``swap_ij=False``: the array is indexed [column, row, slice], and the affine
    maps these indices to millimetres, RAS unless ``affine_lps_to_ras=False``.

    Nothing is written to disk. One reader may be used by several threads.

    Parameters
    ----------
    identities
        Identities, or paths of identity files, which each process opens when it first needs them.
    plain
        ``"read"``: a file that is not encrypted is read as it is; ``"refuse"``: it is a NotEncryptedError.
    headers
        As for `iomt_crypt.decrypt_file`: ``"merged"`` takes corrections that an archive made to patient and study.
    list_is_series
        A list of files is one series, stacked to slices as a folder's files are.
    **kwargs
        For `PydicomReader` and, through it, `pydicom.dcmread`; ``to_gpu`` cannot be used, ``defer_size`` has no effect.

    Raises
    ------
    ConfigurationError
        No identities, or an argument that cannot be used.
    """

    def __init__(
        self,
        identities: Sequence[Identity | Given] | Identity | Given | Keyring,
        *,
        plain: Plain = "read",
        headers: Headers = "merged",
        list_is_series: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("to_gpu"):
            raise ConfigurationError("to_gpu reads the file past the decryption", hint="move the decrypted image")
        if plain not in ("read", "refuse"):
            raise ConfigurationError(f"plain={plain!r} is unknown", hint="one of: read, refuse")
        super().__init__(**kwargs)
        self._opener = Opener(identities)
        if not self._opener:
            raise ConfigurationError("no identities were given", hint="identities=['FILE']")
        self._plain, self._headers, self._list_is_series = plain, headers, list_is_series

    def read(self, data: Sequence[Name] | Name, **kwargs: Any) -> _Read:
        """Read files; what is wrong with one of them is raised by `get_data`.

        After an exception here `LoadImage` would go on to its other readers, the last of which takes the noise for an
        image. Only a file that is no DICOM object is raised at once, so that those others may have it.

        Raises
        ------
        NotDicomError
        """
        names = [Path(fspath(name)) for name in ([data] if isinstance(data, str | PathLike) else data)]
        options = {**self.kwargs, **kwargs, "defer_size": None}  # what is decrypted is no file that is read later
        try:
            if self._list_is_series and not any(name.is_dir() for name in names):
                return _gathered([self._read_slices(names, options)])
            return _gathered([self._read_name(name, options) for name in names])
        except NotDicomError:
            raise
        except IomtCryptError as error:
            return _Read(error=error)

    def get_data(self, img: _Read) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Array and meta data of what `read` gave.

        Raises
        ------
        NoMatchingIdentityError, AuthenticationError, NotEncryptedError, InputError, HeaderDriftError, KeyMaterialError
            With the file's name in a note.
        """
        if (error := img.error) is not None:
            raise error
        # MONAI keeps what was read last, and labels it met, in the reader, where another thread would find them
        own = copy.copy(self)
        own.label_dict = copy.copy(self.label_dict)
        own.filenames, own.has_series = list(img.filenames), img.has_series
        return PydicomReader.get_data(own, img.data)

    def _read_name(self, name: Path, options: dict[str, Any]) -> _Slices:
        """A file, or the files of a folder in the order of their names."""
        if not name.is_dir():
            return self._read_slices([name], options)
        # hidden files are left out, as by MONAI
        files = [path for path in sorted(name.iterdir()) if not path.name.startswith(".") and not path.is_dir()]
        if self.fname_regex is not None:
            files = [path for path in files if re.match(self.fname_regex, str(path))]
        return self._read_slices(files, options, folder=name)

    def _read_slices(self, files: Sequence[Path], options: dict[str, Any], *, folder: Path | None = None) -> _Slices:
        """Data sets of files and their names. In a folder, what is no DICOM object is left out with a warning."""
        found: list[tuple[FileDataset, str]] = []
        for path in files:
            try:
                found.append((self._read_file(path, options), str(path)))
            except NotDicomError:
                if folder is None:
                    raise
                warnings.warn(f"{path} is no DICOM file and is left out", stacklevel=2)
        if not found:
            raise NotDicomError(f"{folder}: no DICOM file in it")
        return [dataset for dataset, _ in found], [name for _, name in found]

    def _read_file(self, path: Path, options: dict[str, Any]) -> FileDataset:
        try:
            with open_input(path) as stream:
                source = _parse(stream, forced=bool(options.get("force")))
                if source is None or block.find_record(source.header) is None:
                    self._accept_plain(source)
                    stream.seek(0)
                    return _read_plain(stream, options)
                sink = io.BytesIO()
                done = restore_source(source, sink, keyring=self._opener.keyring(), headers=self._headers)
                if done.remark:
                    warnings.warn(f"{path}: {done.remark}", stacklevel=2)
            sink.seek(0)
            # what is restored may be a file without preamble, and is authentic
            return dcmread(sink, **{**options, "force": True})
        except IomtCryptError as error:
            error.add_note(f"file: {path}")
            raise

    def _accept_plain(self, source: Source | None) -> None:
        """Raise NotEncryptedError for a file without record that is refused."""
        if self._plain == "refuse":
            raise NotEncryptedError("not encrypted, and plain files are refused", hint="plain='read' takes them")
        if source is not None and _SAYS_ENCRYPTED in raw_value(source.header, DERIVATION):
            raise NotEncryptedError(
                "the header says that the pixels were encrypted by iomt-crypt, and the record is missing",
                hint="an archive dropped the private block; the journal of the node that sent it has a copy",
            )


def _parse(stream: BinaryIO, *, forced: bool) -> Source | None:
    """The object in ``stream``; None for one that pydicom has to make sense of, and that we never wrote."""
    try:
        return read_sealed(stream)
    except InputError as error:
        stream.seek(0)
        data = stream.read()
        if MAGIC in data or _SAYS_ENCRYPTED in data or (isinstance(error, NotDicomError) and not forced):
            raise
        return None


def _read_plain(stream: BinaryIO, options: dict[str, Any]) -> FileDataset:
    try:
        return dcmread(stream, **options)
    except InvalidDicomError as error:
        raise NotDicomError("not a DICOM file with preamble", hint="force=True reads it all the same") from error
    except Exception as error:  # whatever the bytes lead pydicom to
        raise MalformedError(f"a plain file that pydicom cannot read ({type(error).__name__})") from error


def _gathered(groups: list[_Slices]) -> _Read:
    """In the form that MONAI's reader has: one thing or a list, data sets or lists of them."""
    has_series = any(len(slices) > 1 for slices, _ in groups)
    data: list[Any] = [slices if has_series else slices[0] for slices, _ in groups]
    names = tuple(names if has_series else names[0] for _, names in groups)
    return _Read(data[0] if len(data) == 1 else data, names, has_series)
