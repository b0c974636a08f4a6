"""Data sets for training straight from encrypted folders."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from monai.config.type_definitions import DtypeLike, KeysCollection
from monai.data.dataset import CacheDataset, Dataset
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import LoadImaged
from monai.utils.misc import ensure_tuple

from iomt_crypt.checks.key import Given
from iomt_crypt.checks.reader import EncryptedDicomReader
from iomt_crypt.dicom import read_file
from iomt_crypt.dicom.file import open_input
from iomt_crypt.dicom.uid import SERIES
from iomt_crypt.errors import InputError, IomtCryptError, NotDicomError
from iomt_crypt.seal import Identity

By = Literal["series", "file"]
Transforms = Callable[[Any], Any] | Sequence[Callable[[Any], Any]]
Data = str | Path | Sequence[Mapping[str, Any]]


def list_items(folder: str | Path, *, by: By = "series", key: str = "image") -> list[dict[str, Any]]:
    """Items for a data set: the images below a folder, as paths. Needs no key: headers are in clear.

    Parameters
    ----------
    by
        ``"series"``: one item for each Series Instance UID, with all its files in the order of their paths;
        ``"file"``: one for each file
    key
        Where the paths are in an item. With them is its ``"series_instance_uid"``, that of the encrypted objects.

    Returns
    -------
    list of dict
        Sorted by their first path. Files that are no DICOM objects, and objects without pixels, are left out.

    Raises
    ------
    InputError
        There is no such folder, no image in it, or a file cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    series: dict[str, list[str]] = {}
    items: list[dict[str, Any]] = []
    for path, uid in _images(root):
        if by == "file" or uid not in series:
            series[uid] = []
            items.append({key: series[uid] if by == "series" else str(path), "series_instance_uid": uid})
        series[uid].append(str(path))
    if not items:
        raise InputError(f"{root}: no DICOM image in it")
    return items


def _images(root: Path) -> Iterator[tuple[Path, str]]:
    """Files that hold images, and their series."""
    for path in sorted(root.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            with open_input(path) as stream:
                source = read_file(stream)
        except NotDicomError:
            continue
        except InputError as error:
            error.add_note(f"file: {path}")
            raise
        if source.pixel is not None:
            yield path, source.text(SERIES)


class EncryptedDataset(Dataset):
    """Images of an encrypted folder tree as a `monai.data.Dataset`: decrypted in memory when they are asked for.

    Nothing is kept in clear by the data set; what is loaded lives as long as whoever asked for it holds it. Works with
    data loaders of many processes: paths of identity files are pickled as paths, and each process opens them when it
    loads its first image; what is pickled of identities in memory is told in docs/MONAI.md.

    Parameters
    ----------
    data
        A folder, which is walked as by `list_items`; or items, as that function or a MONAI data list has them.
    transform
        What comes after loading: a transform, several, or a Compose.
    identities
        Identities, or paths of identity files.
    keys
        What is loaded of each item: encrypted or plain DICOM files and folders, lists of the slices of a series, and
        whatever else MONAI's readers take (NIfTI labels).
    by
        For a folder, see `list_items`.
    dtype, ensure_channel_first
        As for `monai.transforms.LoadImaged`.
    reader_options
        More arguments for `EncryptedDicomReader`.

    Raises
    ------
    InputError
        See `list_items`. What is wrong with an object is raised when it is loaded: see `EncryptedDicomReader`.
    """

    def __init__(
        self,
        data: Data,
        transform: Transforms | None = None,
        *,
        identities: Sequence[Identity | Given] | Identity | Given,
        keys: KeysCollection = "image",
        by: By = "series",
        dtype: DtypeLike = np.float32,
        ensure_channel_first: bool = True,
        reader_options: Mapping[str, Any] | None = None,
    ) -> None:
        load = _loader(keys, identities, dtype, ensure_channel_first, reader_options)
        super().__init__(_items(data, keys, by), _after(load, transform))

    def _transform(self, index: int) -> Any:
        with _our_errors():
            return super()._transform(index)


class EncryptedCacheDataset(CacheDataset):
    """`EncryptedDataset` that keeps what its deterministic transforms give, in clear, in memory.

    Worker processes see the cache of their parent: by fork the same memory, by spawn a copy that comes through a pipe.
    Nothing of it is written to files, but memory may be swapped out: encrypt the swap, or have none.

    Parameters
    ----------
    data, transform, identities, keys, by, dtype, ensure_channel_first, reader_options
        As for `EncryptedDataset`.
    **cache_options
        For `monai.data.CacheDataset`: ``cache_rate``, ``cache_num``, ``num_workers``, ...
    """

    def __init__(
        self,
        data: Data,
        transform: Transforms | None = None,
        *,
        identities: Sequence[Identity | Given] | Identity | Given,
        keys: KeysCollection = "image",
        by: By = "series",
        dtype: DtypeLike = np.float32,
        ensure_channel_first: bool = True,
        reader_options: Mapping[str, Any] | None = None,
        **cache_options: Any,
    ) -> None:
        load = _loader(keys, identities, dtype, ensure_channel_first, reader_options)
        super().__init__(_items(data, keys, by), _after(load, transform), **{"progress": False, **cache_options})

    def _transform(self, index: int) -> Any:
        with _our_errors():
            return super()._transform(index)

    def _load_cache_item(self, idx: int) -> Any:
        with _our_errors():
            return super()._load_cache_item(idx)


@contextmanager
def _our_errors() -> Iterator[None]:
    """A Compose says "applying transform ..." whatever went wrong: errors of this package are raised as they are."""
    try:
        yield
    except RuntimeError as wrapped:
        error: BaseException | None = wrapped
        while error is not None and not isinstance(error, IomtCryptError):
            error = error.__cause__
        if error is None:
            raise
        raise error from None


def _loader(
    keys: KeysCollection,
    identities: Any,
    dtype: DtypeLike,
    ensure_channel_first: bool,
    reader_options: Mapping[str, Any] | None,
) -> LoadImaged:
    reader: Any = EncryptedDicomReader(identities, **{"list_is_series": True, **(reader_options or {})})
    with warnings.catch_warnings():
        # LoadImage makes all of MONAI's readers, and one of them tells that there is no decoder for a GPU
        warnings.filterwarnings("ignore", "NvImgCodecPydicomReader", UserWarning)
        return LoadImaged(keys, reader=reader, dtype=dtype, ensure_channel_first=ensure_channel_first)


def _items(data: Data, keys: KeysCollection, by: By) -> list[dict[str, Any]]:
    if isinstance(data, str | Path):
        return list_items(data, by=by, key=str(ensure_tuple(keys)[0]))
    return [dict(item) for item in data]


def _after(load: LoadImaged, transform: Transforms | None) -> Compose:
    """Loading, then ``transform``, in one Compose: a cache finds the first random transform on its top level only."""
    if isinstance(transform, Compose):
        joined = copy.copy(transform)
        joined.transforms = (load, *transform.transforms)
        return joined
    return Compose([load, *(() if transform is None else ensure_tuple(transform))])
