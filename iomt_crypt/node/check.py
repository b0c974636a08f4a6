"""``iomt-crypt node check``: would the node run, and would its objects arrive?"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from iomt_crypt.durable import sync_folder
from iomt_crypt.errors import DiskFullError, IomtCryptError, StorageError
from iomt_crypt.node.acceptance import try_storage
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.config import NodeConfig
from iomt_crypt.node.destination import open_destination
from iomt_crypt.node.recipient import RecipientList, escrow_advice, expiry_advice
from iomt_crypt.node.route import Routes
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.seal import Epoch, fingerprint_text, load_or_create_site_key, load_recipients


@dataclass(frozen=True)
class Finding:
    """One thing that was tried. ``text`` says what was found, ``hint`` what to do about it.

    ``ok`` is False when the node would not run like this; with ``warning`` it would, and should not for long.
    """

    name: str
    ok: bool
    text: str
    hint: str = ""
    warning: bool = False


def check(config: NodeConfig) -> Iterator[Finding]:
    """Try keys, spool, port, destination and what it takes, one after the other; yield what was found."""
    checks: dict[str, Callable[[NodeConfig], str]] = {
        "cipher": _cipher,
        "checks": _checks,
        "recipients": _recipients,
        "site key": _site_key,
        "spool": _spool,
        "port": _port,
        "destination": _destination,
    }
    for name, run in checks.items():
        try:
            yield Finding(name, True, run(config))
            if name == "recipients":
                yield from _advice(config)
                yield from _open_files(config)
            if name == "destination":
                yield from _storage(config)
        except IomtCryptError as error:
            yield Finding(name, False, str(error), error.hint)
        except OSError as error:
            yield Finding(name, False, error.strerror or type(error).__name__)


def _cipher(config: NodeConfig) -> str:
    from iomt_crypt.checks.answer import check_answers

    check_answers(config.policy.suite)
    return f"image cipher and suite {config.policy.suite} give their known answers"


def _checks(config: NodeConfig) -> str:
    policy = config.checks.guard
    if policy.action == "off":
        return "off: nothing is looked at before it leaves"
    policy.require_packages()
    from iomt_crypt.checks import Guard

    Guard(policy)
    own = f", own: {', '.join(policy.own)}" if policy.own else ""
    return f"{policy.action}, classifier {'on' if policy.classifier else 'off'}{own}"


def _recipients(config: NodeConfig) -> str:
    recipients = load_recipients(config.keys.recipients)
    # As the node does it: a token or a key service may know the key, and not wrap with it.
    Epoch.create(recipients)
    return f"{len(recipients)} can decrypt: {', '.join(fingerprint_text(r.fingerprint) for r in recipients)}"


def _advice(config: NodeConfig) -> Iterator[Finding]:
    recipients = load_recipients(config.keys.recipients)
    advice = escrow_advice(recipients)
    if advice is None:
        yield Finding("escrow", True, "more than one recipient")
    else:
        yield Finding("escrow", True, *advice, warning=True)
    for text, hint in expiry_advice(recipients):
        yield Finding("recipients", True, text, hint, warning=True)


def _open_files(config: NodeConfig) -> Iterator[Finding]:
    """Lists that others may write: whoever adds a line to one can decrypt all that comes in from then on."""
    for path in RecipientList(config.keys.recipients).paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o022:
            text = f"{path} can be written by others (mode {mode:04o}), and a line in it decides who can decrypt"
            yield Finding("recipients", True, text, f"chmod go-w {path}", warning=True)


def _site_key(config: NodeConfig) -> str:
    load_or_create_site_key(config.keys.site_key)
    return str(config.keys.site_key)


def _spool(config: NodeConfig) -> str:
    spool = Spool(config.spool.folder, reserve_bytes=config.spool.reserve_bytes)
    spool.create()
    probe = spool.folder / f"check-{os.getpid()}.tmp"
    try:
        with probe.open("xb") as file:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(spool.folder)
    except OSError as error:
        raise StorageError(
            f"{spool.folder} cannot be written: {error.strerror}", hint="the node's user must own the folder"
        ) from error
    finally:
        probe.unlink(missing_ok=True)
    free = spool.free_bytes()
    if free <= spool.reserve_bytes:
        raise DiskFullError(
            f"{spool.folder} has {free} bytes free, spool.reserve_bytes is {spool.reserve_bytes}",
            hint="make room, or lower the reserve: until then every object gets 0xA700",
        )
    return f"{spool.folder}, {free} bytes free"


def _port(config: NodeConfig) -> str:
    node = config.node
    announced = Spool(config.spool.folder).announced()
    if announced is not None and node.port in (0, announced.get("port")):
        return f"the node listens on port {announced.get('port')}"
    with socket.socket(socket.AF_INET6 if ":" in node.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((node.host, node.port))
        except OSError as error:
            raise StorageError(
                f"cannot listen on {node.host} port {node.port}: {error.strerror}",
                hint="another program may have the port; ports below 1024 need a right of their own",
            ) from error
    return f"{node.host} port {node.port} is free"


def _destination(config: NodeConfig) -> str:
    destination = config.destination
    Routes(destination.predicates)
    if destination.plugin is not None:
        open_destination(destination.plugin).close()
        return f"plug-in {destination.plugin.partition(':')[0]} can be opened"
    configure_pynetdicom()
    client = _client(config)
    try:
        client.echo()
    finally:
        client.release()
    return f"{destination.peer} answered the C-ECHO"


def _storage(config: NodeConfig) -> Iterator[Finding]:
    """Would the archive take the objects? A class that came in before and is refused fails, a likely one warns."""
    if config.destination.plugin is not None:
        return
    client = _client(config)
    try:
        found = try_storage(client, Spool(config.spool.folder))
    finally:
        client.release()
    text = f"{config.destination.peer} {found}"
    if found.seen or not (found.explicit or found.implicit):
        yield Finding(
            "storage", False, text, "objects of these classes fail: the archive's configuration names what it takes"
        )
    else:
        hint = "objects of these classes would fail; no matter if none come" if found.refused else ""
        yield Finding("storage", True, text, hint, warning=bool(found.refused))


def _client(config: NodeConfig) -> Client:
    destination = config.destination
    return Client(
        destination.peer,
        calling_ae_title=destination.calling_ae_title or config.node.ae_title,
        timeouts=Timeouts(destination.connect_seconds, destination.answer_seconds),
    )
