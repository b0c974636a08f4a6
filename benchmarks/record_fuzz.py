"""Mutated records: ``python -m benchmarks.record_fuzz [COUNT]``, 100,000 unless told otherwise.

Each is parsed, opened, re-wrapped and its sealed header opened; each tenth lies in a file and goes the whole way of
``rekey`` and ``decrypt``. Anything but the documented errors ends the run with the seed that shows it again.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cbor2

from iomt_crypt import encrypt_file
from iomt_crypt.dicom import Policy, decrypt_file
from iomt_crypt.dicom.locate import locate_record
from iomt_crypt.dicom.rekey import copy_patched, patches
from iomt_crypt.errors import AuthenticationError, InputError, IomtCryptError, NoMatchingIdentityError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring, ObjectKey, Stanza, open_header
from iomt_crypt.seal.container import content
from iomt_crypt.seal.record import ParsedRecord, Record
from iomt_crypt.seal.rewrap import Rewrapper
from tests import synthetic
from tests.mutation import body_of, changed, contained

_VALUES = (
    None,
    True,
    -1,
    0,
    1,
    1 << 48,
    1 << 70,
    1.5,
    b"",
    b"\0" * 16,
    b"\0" * 40,
    "",
    "x" * 65,
    [],
    {},
    [[]],
    {"a": 1},
)


class Fuzz:
    """One encrypted object in a file, and mutations of its record."""

    def __init__(self, folder: Path) -> None:
        self.identity, self.stranger = HpkeIdentity.generate(), HpkeIdentity.generate()
        self.keyring, self.epoch = Keyring([self.identity]), Epoch.create([self.stranger.recipient])
        self.folder, self.path = folder, folder / "object.dcm"
        plain = folder / "plain.dcm"
        plain.write_bytes(synthetic.file(synthetic.image()))
        recipients = [self.identity.recipient, HpkeIdentity.generate().recipient]
        encrypt_file(plain, self.path, recipients=recipients, policy=Policy(site_key=bytes(32)))
        self.location = self.locate(self.path)
        self.container = self.location.container
        record = Record.unpack(self.container)
        self.record = record
        data_key = self.keyring.unwrap(record.wrapped_key, record.epoch_id, record.stanzas)
        self.key = ObjectKey(data_key, record.object_id)
        self.body = body_of(self.container)
        self.rewrapper = Rewrapper()
        self.rewrapper.learn(record, self.keyring)

    @staticmethod
    def locate(path: Path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return locate_record(descriptor)
        finally:
            os.close(descriptor)

    def mutated(self, chance: random.Random) -> tuple[bytes, bool]:
        """A container that is not the true one, and whether only a recipient could make it."""
        kind = chance.choice((_raw, _body, _fields, _inside))
        found = kind(self, chance)
        return found if found != self.container else self.container[:-1], kind is _inside

    def check(self, container: bytes) -> str:
        """Go the way of a rewrap, and its shortcut; the name of the error, or ``opened``."""
        (quick,) = self.rewrapper.open([container])
        try:
            opened = ParsedRecord.of(container).open(self.keyring)
            rewrapped = opened.rewrapped(self.epoch, size=len(container))
            if quick is not None and len(rewrapped) == len(container):
                assert self.rewrapper.rewrapped([quick], [self.epoch]) == [rewrapped]
            quick = None
            open_header(opened.key, opened.record.sealed)
        except (AuthenticationError, NoMatchingIdentityError) as error:
            assert str(error) in ("authentication failed", "no matching identity")  # noqa: PT017 - and go on
            assert error.__cause__ is None  # noqa: PT017
            assert quick is None
            return type(error).__name__
        return "opened"

    def check_file(self, container: bytes) -> str:
        """The whole way, from a file."""
        path = self.folder / "mutated.dcm"
        source, sink = os.open(self.path, os.O_RDONLY), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        copy_patched(source, sink, patches(self.location, container))
        os.close(source)
        os.close(sink)
        try:
            found = self.locate(path)
            assert found is not None
            assert found.container == container
            decrypt_file(path, self.folder / "back.dcm", identities=self.keyring, overwrite=True)
        except IomtCryptError as error:
            allowed = isinstance(error, AuthenticationError | NoMatchingIdentityError | InputError)
            assert allowed, error  # noqa: PT017
            return type(error).__name__
        return "opened"


def _raw(fuzz: Fuzz, chance: random.Random) -> bytes:
    return _changed(fuzz.container, chance)


def _body(fuzz: Fuzz, chance: random.Random) -> bytes:
    return contained(_changed(fuzz.body, chance))


def _fields(fuzz: Fuzz, chance: random.Random) -> bytes:
    """Other values, other types, other keys, in CBOR that is otherwise sound."""
    fields = cbor2.loads(fuzz.body)
    name = chance.choice(sorted(fields))
    if chance.random() < 0.2:
        del fields[name]
    elif chance.random() < 0.3 and name == "stanzas":
        fields[name] = [[chance.choice(_VALUES) for _ in range(chance.randrange(5))]]
    elif chance.random() < 0.3 and name == "layout":
        fields[name][chance.choice(sorted(fields[name]))] = chance.choice(_VALUES)
    else:
        fields[name] = chance.choice(_VALUES)
    return contained(cbor2.dumps(fields, canonical=True))


def _inside(fuzz: Fuzz, chance: random.Random) -> bytes:
    """What a recipient could make, who has the data key: a record that is sound and a MAC that fits."""
    record = fuzz.record
    stanzas = list(record.stanzas)
    chance.shuffle(stanzas)
    forged = Stanza(stanzas[0].kind, chance.randbytes(8), _changed(stanzas[0].body, chance))
    other = chance.choice(
        (
            replace(record, sealed=_changed(record.sealed, chance)),
            replace(record, stanzas=(forged,)),
            replace(record, stanzas=(*stanzas, forged)),
            replace(record, wrapped_key=chance.randbytes(40)),
            replace(record, object_id=chance.randbytes(16)),
            replace(record, tags=chance.randbytes(len(record.tags))),
            replace(record, sop_instance_uid="2.25." + str(chance.randrange(1 << 64))),
        )
    )
    return other.authenticated(ObjectKey(fuzz.key.data_key, other.object_id)).pack()


def _changed(data: bytes, chance: random.Random) -> bytes:
    """Of even length, as every value in a file is."""
    found = changed(data, chance)
    return found if len(found) % 2 == 0 else found + b"\0"


def run(count: int, seed: int = 1) -> Counter[str]:
    """What became of ``count`` mutations."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        for number in range(count):
            container, inside = fuzz.mutated(random.Random(f"{seed}/{number}"))
            check = fuzz.check if number % 10 else fuzz.check_file
            try:
                result = check(container)
                # A mutation of the slack alone may open, and what a recipient made to be sound.
                assert result != "opened" or inside or content(container) == fuzz.body
                found[result + ", by a recipient" * (inside and result == "opened")] += 1
            except BaseException:
                print(f"mutation {number} of seed {seed}")
                raise
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    began = time.monotonic()
    found = run(count, seed=random.SystemRandom().randrange(1 << 32))
    print(f"{count} mutated records in {time.monotonic() - began:.0f} s")
    for name, n_found in found.most_common():
        print(f"  {name:28} {n_found}")


if __name__ == "__main__":
    main()
