"""Where objects lie: the file system, or a store that fsspec knows (``s3://bucket/prefix``, ``memory://``).

A store's object appears whole or not at all. S3 and its like complete an upload in one step, under its final key; where
a store has no such step, the object is written under a temporary name beside it and moved.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from iomt_crypt.durable import draft_path
from iomt_crypt.errors import ConfigurationError, InputError, StorageError

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://")
#: An upload becomes visible in one step; the others get a temporary name and a move.
_ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
_SAME = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs"}
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_WHOLE_BYTES = 64 << 20  # smaller objects are fetched by one request, and staged in memory


def is_url(location: str) -> bool:
    """Whether ``location`` is in a store; ``file://`` is not, see `local_path`."""
    return bool(_URL.match(location)) and not location.startswith("file://")


def local_path(location: str) -> str:
    """The path of a location of the file system."""
    return location.removeprefix("file://")


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it.

    Raises
    ------
    ConfigurationError
        fsspec or the package for this kind of store is missing, the kind is unknown, or the URL holds credentials.
    """
    scheme, _, rest = url.partition("://")
    if "@" in rest.split("/")[0]:
        raise ConfigurationError(
            f"a {scheme}:// address holds credentials, which would be seen in process lists and reports",
            hint="give them by the environment or the store's own configuration files",
        )
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise _missing("fsspec", "archive") from None
    try:
        fs, path = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise _missing(getattr(error, "name", None) or f"support for {scheme}://", _EXTRAS.get(scheme, "")) from error
    except ValueError as error:
        raise ConfigurationError(f"{url}: no store of this kind is known", hint="e.g. s3://bucket/prefix") from error
    return fs, path


def _missing(package: str, extra: str) -> ConfigurationError:
    hint = f"pip install 'iomt-crypt[{extra}]'" if extra else "install the fsspec package of this store"
    return ConfigurationError(f"{package} is not installed", hint=hint)


def plain(url: str) -> str:
    """The address in one way of writing: ``s3a://a//b/./c/`` is ``s3://a/b/c``."""
    scheme, _, rest = url.partition("://")
    return f"{_SAME.get(scheme, scheme)}://{posixpath.normpath('/' + rest).strip('/')}"


def join(folder: str, relative: str) -> str:
    """``relative``, a POSIX path, below ``folder``."""
    if is_url(folder):
        return f"{folder.rstrip('/')}/{relative}" if not folder.endswith("://") else folder + relative
    return str(Path(local_path(folder)) / relative)


def exists(location: str) -> bool:
    """Whether something is there. Raises StorageError when the store does not answer."""
    if not is_url(location):
        return Path(local_path(location)).exists()
    fs, path = file_system(location)
    with translated(location, StorageError):
        return bool(fs.exists(path))


def check_free(location: str, *, overwrite: bool) -> None:
    """Raise StorageError when something is there that may not be replaced."""
    if not overwrite and exists(location):
        raise _exists(location)


@contextmanager
def reading(location: str) -> Iterator[BinaryIO]:
    """An object for reading, seekable. Raises InputError when it is not there or cannot be read."""
    if not is_url(location):
        from iomt_crypt.dicom.file import open_input

        with open_input(local_path(location)) as stream:
            yield stream
        return
    fs, path = file_system(location)
    with translated(location, InputError):
        size = int(fs.info(path).get("size") or 0)
        stream = io.BytesIO(fs.cat_file(path)) if size <= _WHOLE_BYTES else fs.open(path, "rb", block_size=8 << 20)
    with stream:
        yield cast(BinaryIO, stream)


@contextmanager
def writing(location: str, *, overwrite: bool, secret: bool) -> Iterator[BinaryIO]:
    """A sink that becomes the object ``location`` when the block ends well, and nothing otherwise.

    With ``secret``, what is written goes nowhere but to its destination, and the sink cannot seek in a store. Without,
    it can: it is staged, in memory or in a file without a name.

    Raises
    ------
    StorageError
        It exists and ``overwrite`` is False, or it cannot be written.
    """
    if not is_url(location):
        from iomt_crypt.dicom.output import output_file

        with output_file(Path(local_path(location)), overwrite=overwrite) as sink:
            yield sink
        return
    with _uploading(location, overwrite=overwrite) as upload:
        if secret:
            yield upload
            return
        with tempfile.SpooledTemporaryFile(max_size=_WHOLE_BYTES) as staged:
            yield cast(BinaryIO, staged)
            staged.seek(0)
            with translated(location, StorageError):
                while block := staged.read(1 << 20):
                    upload.write(block)


@contextmanager
def _uploading(location: str, *, overwrite: bool) -> Iterator[BinaryIO]:
    fs, path = file_system(location)
    check_free(location, overwrite=overwrite)
    in_one_step = location.partition("://")[0] in _ATOMIC
    with _in_one_step(fs, path, location, overwrite) if in_one_step else _by_move(fs, path, location) as upload:
        yield upload


@contextmanager
def _in_one_step(fs: Any, path: str, location: str, overwrite: bool) -> Iterator[BinaryIO]:
    with translated(location, StorageError):
        # A store that knows conditional writes refuses when somebody else made the object meanwhile.
        upload = fs.open(path, "wb" if overwrite else "xb", autocommit=False)
    try:
        yield cast(BinaryIO, upload)
        with translated(location, StorageError):
            upload.close()
            upload.commit()
    except BaseException:
        with suppress(Exception):  # the error that brought us here is the one to tell
            upload.discard()
        upload.closed = True  # or collecting it would upload what it holds
        raise


@contextmanager
def _by_move(fs: Any, path: str, location: str) -> Iterator[BinaryIO]:
    draft = _draft(path)
    try:
        with translated(location, StorageError):
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            upload = fs.open(draft, "wb")
        with upload:
            yield cast(BinaryIO, upload)
        with translated(location, StorageError):
            fs.mv(draft, path)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(draft)
        raise


def _draft(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{draft_path(Path(name)).name}"


def _exists(location: str) -> StorageError:
    return StorageError(f"{location}: exists already", hint="nothing is overwritten unless --overwrite is given")


@contextmanager
def translated(location: str, kind: type[InputError | StorageError]) -> Iterator[None]:
    """Errors of a store as ours: its libraries raise their own, of many classes, and quote requests in them."""
    try:
        yield
    except (InputError, StorageError, ConfigurationError):
        raise
    except FileNotFoundError as error:
        raise _fault(kind, f"{location}: no such file or store") from error
    except FileExistsError as error:
        raise _exists(location) from error
    except PermissionError as error:
        hint = "the store's credentials come from the environment"
        raise _fault(kind, f"{location}: access denied", hint) from error
    except Exception as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
        raise _fault(kind, f"{location}: the store failed ({reason})") from error


def _fault(kind: type[InputError | StorageError], message: str, hint: str = "") -> InputError | StorageError:
    return kind(message, hint=hint)
