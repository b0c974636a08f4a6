"""The section ``IomtCrypt`` of Orthanc's configuration. Runs inside Orthanc: standard library only.

Each option's meaning here is the source of the table in the README; a test compares the two.
"""

# ruff: noqa: RUF009 - _option makes the specification of a field
from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from iomt_crypt.errors import ConfigurationError

SECTION = "IomtCrypt"
#: What an encrypted object may be transcoded to on ingest without its frames being touched.
_HARMLESS_SYNTAXES = ("", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1")


def _option(name: str, default: Any, meaning: str, *, one_of: tuple[Any, ...] = (), least: int | None = None) -> Any:
    metadata = {"name": name, "default": default, "meaning": meaning, "one_of": one_of, "least": least}
    return field(metadata=metadata)


@dataclass(frozen=True)
class Options:
    """All options, checked; paths are absolute."""

    recipients: list[str] = _option("Recipients", None, "who can decrypt: recipient texts, or files that hold them")
    folder: str = _option(
        "Folder", None, "folder of this plug-in, made when missing, mode 0700: quarantine, alarm, site key"
    )
    site_key: str = _option(
        "SiteKey", "", "file of the key that derives UIDs, mode 0600, made when missing; empty: site.key in Folder"
    )
    suite: str = _option(
        "Suite", "hybrid-1", "cipher suite; chaos-cnn-1 is for research", one_of=("hybrid-1", "chaos-cnn-1")
    )
    uids: str = _option(
        "Uids", "derive", "SOP Instance and Series UIDs: new ones, or as they were", one_of=("derive", "keep")
    )
    epoch_objects: int = _option("EpochObjects", 10_000, "objects under one epoch key", least=1)
    epoch_hours: int = _option("EpochHours", 24, "hours under one epoch key", least=1)
    on_failure: str = _option(
        "OnFailure",
        "quarantine",
        "an object that cannot be encrypted: seal it into the quarantine and answer success, or refuse it",
        one_of=("quarantine", "refuse"),
    )
    workers: int = _option("Workers", 2, "processes that encrypt", least=1)
    timeout_seconds: int = _option("TimeoutSeconds", 60, "a worker that takes longer for one object is killed", least=1)
    python: str = _option(
        "Python", "", "interpreter of the workers; empty: that of the environment this plug-in is installed in"
    )
    identities: list[str] = _option(
        "Identities", [], "files of the keys to decrypt with, mode 0600; empty: this Orthanc decrypts for nobody"
    )
    users: list[str] = _option("Users", [], "registered users of Orthanc who may see decrypted objects")
    headers: str = _option(
        "Headers",
        "merged",
        "on decryption, corrections that were made to the clear header: carry over, ignore, or refuse the object",
        one_of=("merged", "original", "strict"),
    )
    archive_bytes: int = _option(
        "ArchiveBytes", 2_000_000_000, "largest ZIP of decrypted objects; it is made in memory", least=1
    )

    @property
    def quarantine(self) -> Path:
        """Folder of the sealed objects."""
        return Path(self.folder) / "quarantine"


def read_options(configuration: Mapping[str, Any], *, base: Path) -> Options:
    """Check Orthanc's whole configuration; relative paths start at ``base``, the folder of the configuration.

    Raises
    ------
    ConfigurationError
        The section is missing, has an unknown option or a wrong value; or Orthanc's own options would let encrypted
        objects be changed, or let everybody decrypt.
    """
    section = configuration.get(SECTION)
    if not isinstance(section, Mapping):
        raise ConfigurationError(f"{SECTION}: the section is missing", hint="see the README of the plug-in")
    known = {each.metadata["name"]: each for each in fields(Options)}
    for name in section:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"options: {', '.join(known)}"
            raise ConfigurationError(f"{SECTION}: unknown option {name!r}", hint=hint)
    values = {each.name: _value(each.metadata, section) for each in known.values()}
    for name in ("folder", "site_key", "python"):
        values[name] = values[name] and str(base / Path(values[name]).expanduser())
    values["site_key"] = values["site_key"] or str(Path(values["folder"]) / "site.key")
    values["python"] = values["python"] or _own_python()
    values["recipients"] = [_at(base, value) for value in values["recipients"]]
    values["identities"] = [_at(base, value) for value in values["identities"]]
    options = Options(**values)
    _check_host(configuration, options)
    return options


def _value(option: Mapping[str, Any], section: Mapping[str, Any]) -> Any:
    place = f"{SECTION}.{option['name']}"
    if option["name"] not in section:
        if option["default"] is None:
            raise ConfigurationError(f"{place} is missing", hint=f"{option['name']}: {option['meaning']}")
        return option["default"]
    value, default = section[option["name"]], option["default"]
    is_list = isinstance(default, list) or option["name"] == "Recipients"
    expected: type = list if is_list else int if isinstance(default, int) else str
    right = isinstance(value, expected) and not isinstance(value, bool)
    if right and is_list:
        right = all(isinstance(each, str) and each for each in value)
    if not right:
        kind = {list: "a list of texts", int: "a whole number", str: "a text"}[expected]
        raise ConfigurationError(f"{place} must be {kind}", hint=f"{option['name']}: {option['meaning']}")
    if default is None and not value:
        raise ConfigurationError(f"{place} is empty", hint=f"{option['name']}: {option['meaning']}")
    if option["one_of"] and value not in option["one_of"]:
        raise ConfigurationError(f"{place} is {value!r}", hint=f"one of: {', '.join(option['one_of'])}")
    if option["least"] is not None and value < option["least"]:
        raise ConfigurationError(f"{place} is {value}, the least is {option['least']}")
    return value


def _at(base: Path, value: str) -> str:
    """A file's path made absolute; a key text, which is no file's name, as it is."""
    candidate = base / Path(value).expanduser()
    looks_like_path = "/" in value or (len(value) < 200 and candidate.is_file())
    return str(candidate) if looks_like_path and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", value) else value


def _own_python() -> str:
    """``bin/python`` of the environment this file is installed in: ``<prefix>/lib/python3.x/site-packages/...``."""
    here = Path(__file__).resolve()
    for parent in here.parents:
        for name in ("python3", "python"):
            if (parent / "pyvenv.cfg").is_file() and (parent / "bin" / name).exists():
                return str(parent / "bin" / name)
    # A system's Python; inside Orthanc the executable is Orthanc itself.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(Path(sys.prefix) / "bin" / version)


def _check_host(configuration: Mapping[str, Any], options: Options) -> None:
    syntax = str(configuration.get("IngestTranscoding", ""))
    if syntax not in _HARMLESS_SYNTAXES:
        raise ConfigurationError(
            f"IngestTranscoding is {syntax!r}: encrypted pixels would be compressed",
            hint="remove the option; noise cannot be compressed",
        )
    if configuration.get("StoreDicom", True) is not True:
        raise ConfigurationError("StoreDicom is false: objects would be lost", hint="remove the option")
    if not Path(options.python).is_file():
        raise ConfigurationError(
            f"{SECTION}.Python: {options.python} is no interpreter", hint="name bin/python of the environment"
        )
    _check_users(configuration, options)


def _check_users(configuration: Mapping[str, Any], options: Options) -> None:
    if not options.users:
        return
    if not options.identities:
        raise ConfigurationError(f"{SECTION}.Users may decrypt, and {SECTION}.Identities is empty")
    if not authenticates(configuration):
        raise ConfigurationError(
            f"{SECTION}.Users may decrypt, and Orthanc does not ask who calls",
            hint='"AuthenticationEnabled": true',
        )
    registered = configuration.get("RegisteredUsers", {})
    for user in options.users:
        if user not in registered:
            raise ConfigurationError(f"{SECTION}.Users: {user!r} is not among Orthanc's RegisteredUsers")


def authenticates(configuration: Mapping[str, Any]) -> bool:
    """Whether Orthanc asks for a password: by default when other machines may call."""
    return bool(configuration.get("AuthenticationEnabled", configuration.get("RemoteAccessAllowed", False)))


def read_configuration(path: Path) -> dict[str, Any]:
    """Orthanc's configuration as Orthanc reads it: a JSON file with comments, or a folder of them.

    Raises
    ------
    ConfigurationError
        It cannot be read or is not JSON.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    merged: dict[str, Any] = {}
    for file in files:
        try:
            merged.update(json.loads(without_comments(file.read_text(encoding="utf-8"))))
        except OSError as error:
            raise ConfigurationError(f"{file}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise ConfigurationError(f"{file}: not JSON with comments ({error})") from None
    return merged


def without_comments(text: str) -> str:
    """JSON without ``//`` and ``/* */`` comments; what stands in strings stays."""
    tokens = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
    return tokens.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)
