"""``python -m iomt_crypt_orthanc``: where the script is, whether the configuration will do, and the quarantine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from iomt_crypt.dicom import Policy
from iomt_crypt.errors import ConfigurationError, IomtCryptError
from iomt_crypt.node.epoch import EpochSource
from iomt_crypt.node.recipient import RecipientList
from iomt_crypt.seal import Keyring, fingerprint_text, load_identities, load_or_create_site_key
from iomt_crypt.seal.secret import read_secret_line
from iomt_crypt_orthanc import quarantine, recovery
from iomt_crypt_orthanc.option import Options, read_configuration, read_options
from iomt_crypt_orthanc.pool import Pool, WorkerLost
from iomt_crypt_orthanc.protector import Protector

SCRIPT = Path(__file__).resolve().parent / "script" / "iomt_crypt_plugin.py"
_CONFIG = "/etc/orthanc"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _options(arguments: argparse.Namespace) -> Options:
    path = Path(arguments.config)
    return read_options(read_configuration(path), base=(path if path.is_dir() else path.parent).absolute())


def _path(arguments: argparse.Namespace) -> int:
    del arguments
    _say(str(SCRIPT))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Start one worker of each role as Orthanc would: it has all keys, and encrypts a test object."""
    options = _options(arguments)
    settings = vars(options) | {"role": "protect"}
    facts = _start(options, settings)
    _say(f"encrypts to {', '.join(facts['recipients'])}")
    if options.identities:
        facts = _start(options, settings | {"role": "release"})
        _say(f"decrypts with {', '.join(facts['identities'])} for {', '.join(options.users) or 'nobody'}")
    return 0


def _start(options: Options, settings: dict[str, object]) -> dict[str, list[str]]:
    try:
        pool = Pool(options.python, settings, n=1, timeout_s=60.0, warn=_say)
    except (WorkerLost, RuntimeError) as error:
        raise ConfigurationError(str(error)) from None
    pool.close()
    return pool.facts


def _list(arguments: argparse.Namespace) -> int:
    folder = _options(arguments).quarantine
    for name in quarantine.names(folder):
        try:
            entry = quarantine.read(folder / name)
        except (IomtCryptError, OSError):
            _say(f"{name}  damaged")
            continue
        received = datetime.fromtimestamp(entry.received_at, UTC).isoformat(timespec="seconds")
        recipients = ",".join(fingerprint_text(stanza.recipient) for stanza in entry.stanzas)
        _say(f"{name}  {received}  {entry.size_bytes} bytes  to {recipients}  {entry.reason}")
    return 0


def _retry(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    user = read_secret_line(Path(arguments.user_file)) if arguments.user_file else b""
    deliver = recovery.to_orthanc(arguments.url, user=user) if arguments.url else _folder(arguments)
    epochs = EpochSource(RecipientList(options.recipients), n_objects=options.epoch_objects, hours=options.epoch_hours)
    site_key = load_or_create_site_key(Path(options.site_key))
    policy = Policy(suite=options.suite, uids="keep" if options.uids == "keep" else "derive", site_key=site_key)
    protector = Protector(epochs=epochs, policy=policy, folder=Path(options.folder), on_failure="refuse")
    return _tell(recovery.retry(Path(options.folder), _keyring(arguments, options), protector, deliver))


def _export(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    keyring = _keyring(arguments, options)
    return _tell(recovery.export(Path(options.folder), keyring, _folder(arguments)))


def _folder(arguments: argparse.Namespace) -> recovery.Destination:
    if not arguments.output:
        raise ConfigurationError("nowhere to go", hint="--url http://127.0.0.1:8042, or -o FOLDER")
    return recovery.to_folder(Path(arguments.output))


def _keyring(arguments: argparse.Namespace, options: Options) -> Keyring:
    values = arguments.identity or options.identities
    if not values:
        raise ConfigurationError("no identity: the quarantine is sealed", hint="-i FILE, the key of a recipient")
    return Keyring(load_identities(values))


def _tell(results: Iterator[recovery.Recovered]) -> int:
    code = 0
    for result in results:
        _say(f"{result.name}  {result.error or 'done'}")
        code = 1 if result.error else code
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m iomt_crypt_orthanc", description=__doc__)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("path", help="path of the script, for PythonScript").set_defaults(run=_path)
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument("--config", default=_CONFIG, help="Orthanc's configuration; default %(default)s")
    commands.add_parser("check", parents=[config], help="try the configuration").set_defaults(run=_check)
    inner = commands.add_parser("quarantine", help="objects that could not be encrypted").add_subparsers(required=True)
    inner.add_parser("list", parents=[config], help="what is in it, and why").set_defaults(run=_list)
    out = argparse.ArgumentParser(add_help=False)
    out.add_argument("-i", "--identity", action="append", help="key to open them with; default: Identities")
    out.add_argument("-o", "--output", help="folder for the files")
    again = inner.add_parser("retry", parents=[config, out], help="encrypt them again, and store them")
    again.add_argument("--url", help="Orthanc to store them in, http://127.0.0.1:8042")
    again.add_argument("--user-file", help="file, mode 0600, with name:password of a user of that Orthanc")
    again.set_defaults(run=_retry)
    inner.add_parser("export", parents=[config, out], help="the originals, PLAIN, to a folder").set_defaults(
        run=_export
    )
    return parser


def main(words: list[str] | None = None) -> int:
    """Run one command; 0 when all of it was done, 1 otherwise, 2 for wrong usage."""
    arguments = _parser().parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except IomtCryptError as error:
        sys.stderr.write(f"error: {error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
