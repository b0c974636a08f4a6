"""The node's configuration: one TOML file, checked in full before anything starts.

Each option's description here is the source of ``docs/NODE.md``; a test compares the two.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from iomt_crypt.checks.policy import MAXIMUM_FRAMES, GuardPolicy
from iomt_crypt.dicom.policy import EXPANSION_ALLOWANCE_BYTES, MAX_EXPANSION, MAX_VALUE_BYTES
from iomt_crypt.errors import ConfigurationError
from iomt_crypt.node.peer import Peer, is_ae_title


def _ae_title(text: str) -> str:
    if not is_ae_title(text):
        raise ValueError("an AE title is 1 to 16 printable characters (PS3.5 6.2)")
    return text


def _network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


_PASSPHRASE_FILE = "passphrase:"  # noqa: S105 - the kind, not one

AETitle = Annotated[str, AfterValidator(_ae_title)]
Network = Annotated[str, AfterValidator(_network)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000, strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NodeSection(_Section):
    """Who the node is and where it listens."""

    ae_title: AETitle = Field(default="IOMTCRYPT", description="AE title of the node")
    host: str = Field(default="0.0.0.0", min_length=1, description="address to listen on")  # noqa: S104 - modalities are elsewhere
    port: int = Field(default=11112, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one")
    grace_seconds: Seconds = Field(
        default=30.0, description="how long a stopping node may take for the objects in hand"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="what goes to stderr")


class ReceiveSection(_Section):
    """Who may send, and how much."""

    allow_ae_titles: list[AETitle] = Field(default=[], description="calling AE titles that may associate; empty: any")
    allow_addresses: list[Network] = Field(
        default=[], description="addresses or networks (10.1.0.0/16) that may connect; empty: any"
    )
    require_called_ae_title: bool = Field(
        default=False, description="refuse callers that use another AE title for this node"
    )
    max_associations: int = Field(default=32, ge=1, le=1000, description="associations at a time; more are refused")
    max_object_bytes: int = Field(
        default=2_147_483_648, ge=1, description="largest data set taken; the object is in memory until it is encrypted"
    )
    max_pdu_bytes: int = Field(
        default=131_072,
        ge=4096,
        le=16_777_216,
        description="largest PDU accepted (PS3.8 D.1); larger is faster",
    )
    idle_seconds: Seconds = Field(default=60.0, description="a silent association is aborted after this time")


class SpoolSection(_Section):
    """Where encrypted objects rest until they are delivered."""

    folder: Path = Field(strict=False, description="folder of spool and journal; made when missing, mode 0700")
    reserve_bytes: int = Field(
        default=1_073_741_824, ge=0, description="free space that stays free; objects that would touch it get 0xA700"
    )


class KeysSection(_Section):
    """Who can decrypt."""

    recipients: list[str] = Field(min_length=1, description="recipient texts, or files that hold them")
    site_key: Path = Field(strict=False, description="file of the key that derives UIDs; made when missing, mode 0600")
    new_site_key: bool = Field(
        default=False, description="go on with another site key than before, when the old one is lost; for one start"
    )
    epoch_objects: int = Field(default=10_000, ge=1, description="objects under one epoch key")
    epoch_hours: Annotated[float, Field(gt=0, le=8760, strict=False)] = Field(
        default=24.0, description="hours under one epoch key"
    )


class PolicySection(_Section):
    """How objects are encrypted."""

    suite: Literal["hybrid-1", "chaos-cnn-1"] = Field(
        default="hybrid-1", description="cipher suite; chaos-cnn-1 is for research, without standard encryption"
    )
    uids: Literal["derive", "keep"] = Field(
        default="derive", description="SOP Instance and Series UIDs: new, or as they were"
    )
    max_expansion: int = Field(
        default=MAX_EXPANSION,
        ge=1,
        le=100_000,
        description="how many times its size a compressed or deflated object may take in memory and on disk; more is "
        "refused",
    )
    expansion_allowance_bytes: int = Field(
        default=EXPANSION_ALLOWANCE_BYTES,
        ge=0,
        le=MAX_VALUE_BYTES,
        description="what it may take besides, whatever its size",
    )


class ChecksSection(_Section):
    """What is looked at before an object leaves, and what a finding leads to."""

    policy: Literal["block", "warn", "off"] = Field(
        default="block",
        description="block holds an object with an alarm until a person decides; warn sends it and notes the alarm; "
        "off checks nothing here",
    )
    frames: int = Field(
        default=16,
        ge=2,
        le=MAXIMUM_FRAMES,
        description="frames of an object that are looked at, the first and the last too",
    )
    classifier: bool = Field(default=True, description="ask the trained network too, not only the statistics")
    own: list[str] = Field(
        default=[], description="the site's own checks: MONAI transforms, each as package.module:Class"
    )
    threads: int = Field(default=1, ge=1, le=64, description="threads of PyTorch in the forwarder")

    @property
    def guard(self) -> GuardPolicy:
        """The section as the guard takes it."""
        return GuardPolicy(self.policy, self.frames, self.classifier, tuple(self.own), self.threads)


class DestinationSection(_Section):
    """The archive that gets the encrypted objects."""

    plugin: str | None = Field(
        default=None,
        description="a destination of another package, NAME or NAME:ARGUMENT; the next three are not needed then",
    )
    predicates: list[str] = Field(
        default=[], description="plug-ins that say which objects go there, NAME or NAME:ARGUMENT; the others are held"
    )
    ae_title: AETitle = Field(description="AE title of the archive")
    host: str = Field(min_length=1, description="name or address of the archive")
    port: int = Field(ge=1, le=65535, description="TCP port of the archive")
    calling_ae_title: AETitle | None = Field(
        default=None, description="AE title the node uses there; default: node.ae_title"
    )
    connect_seconds: Seconds = Field(default=10.0, description="limit for the TCP connection and the association")
    answer_seconds: Seconds = Field(
        default=60.0, description="limit for the answer to one object, and a second more for each million bytes of it"
    )
    idle_release_seconds: Seconds = Field(
        default=10.0, description="an association without work is released after this time"
    )
    retry_first_seconds: Seconds = Field(default=1.0, description="wait after a failure; doubles with each further one")
    retry_limit_seconds: Seconds = Field(default=300.0, description="longest wait between attempts")
    max_attempts: int = Field(
        default=5, ge=1, le=1000, description="attempts for an object that the archive refuses; then it is failed"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_archive(cls, given: Any) -> Any:
        """A plug-in has no AE title, host and port; these stand for them."""
        if isinstance(given, dict) and given.get("plugin"):
            return {"ae_title": "PLUGIN", "host": "plugin", "port": 1} | given
        return given

    @property
    def peer(self) -> Peer:
        """The archive's name, as `Peer`."""
        return Peer(self.ae_title, self.host, self.port)


class NodeConfig(_Section):
    """All sections of the file."""

    node: NodeSection = Field(default_factory=NodeSection)
    receive: ReceiveSection = Field(default_factory=ReceiveSection)
    spool: SpoolSection
    keys: KeysSection
    policy: PolicySection = Field(default_factory=PolicySection)
    checks: ChecksSection = Field(default_factory=ChecksSection)
    destination: DestinationSection


def load(path: Path) -> NodeConfig:
    """Read and check a configuration file; relative paths in it start at the file's folder.

    Raises
    ------
    ConfigurationError
        When the file cannot be read, is not TOML, has an unknown option or a value out of range. The message names
        file, section and option; the hint says what is meant.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"configuration {path}: {error.strerror}", hint="docs/node.example.toml is a file to start from"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"configuration {path} is not TOML: {error}") from error
    try:
        config = NodeConfig.model_validate(content)
    except ValidationError as error:
        raise _first_error(path, error) from None
    return _with_absolute_paths(config, path.absolute().parent)


def _with_absolute_paths(config: NodeConfig, base: Path) -> NodeConfig:
    spool = config.spool.model_copy(update={"folder": base / config.spool.folder.expanduser()})
    recipients = []
    for value in config.keys.recipients:
        scheme = _PASSPHRASE_FILE if value.startswith(_PASSPHRASE_FILE) else ""
        candidate = str(base / Path(value.removeprefix(scheme)).expanduser())
        # os.path.isfile, because Path.is_file raises when the value is a recipient text longer than a file name can be.
        recipients.append(scheme + candidate if os.path.isfile(candidate) else value)  # noqa: PTH113
    keys = config.keys.model_copy(
        update={"site_key": base / config.keys.site_key.expanduser(), "recipients": recipients}
    )
    return config.model_copy(update={"spool": spool, "keys": keys})


def _first_error(path: Path, error: ValidationError) -> ConfigurationError:
    """Say the first thing that is wrong, with its place; one at a time is what a person can mend."""
    details = error.errors(include_url=False, include_input=False)
    # A misspelt option is unknown under one name and missing under another: the first says more.
    detail = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    place = ".".join(str(part) for part in detail["loc"])
    section = _section(tuple(str(part) for part in detail["loc"][:-1]))
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), list(section.model_fields), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"options here: {', '.join(section.model_fields)}"
        return ConfigurationError(f"configuration {path}: unknown option {place}", hint=hint)
    field = section.model_fields.get(str(detail["loc"][-1]))
    hint = f"{place}: {field.description}" if field is not None and field.description else "see docs/NODE.md"
    if detail["type"] == "missing":
        return ConfigurationError(f"configuration {path}: {place} is missing", hint=hint)
    return ConfigurationError(f"configuration {path}: {place}: {detail['msg']}", hint=hint)


def _section(location: tuple[str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = NodeConfig
    for part in location:
        annotation: Any = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return model
