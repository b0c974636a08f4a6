"""Mutated records: ``python -m benchmarks.record_fuzz [COUNT]``, 100,000 unless told otherwise.

Each is parsed, opened, re-wrapped and its sealed header opened; each tenth lies in a file and goes the whole way of
``rekey`` and ``decrypt``. Anything but the documented errors ends the run with the seed that shows it again.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cbor2

from iomt_crypt.dicom import Policy, decrypt_file, encrypt_file
from iomt_crypt.dicom.locate import locate_record
from iomt_crypt.dicom.rekey import copy_patched, patches
from iomt_crypt.errors import AuthenticationError, InputError, IomtCryptError, NoMatchingIdentityError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring, ObjectKey, Stanza, open_header
from iomt_crypt.seal.container import MAGIC, content
from iomt_crypt.seal.record import ParsedRecord, Record
from tests import synthetic

_MARKS = b"\x00\x17\x18\x1f\x3b\x5b\x5f\x7f\x9b\x9f\xbb\xbf\xc1\xd8\xdb\xf9\xfb\xff"
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


def contained(body: bytes) -> bytes:
    """What anybody can make: any body with a digest that fits."""
    head = MAGIC + b"\0\1" + len(body).to_bytes(4, "big") + body
    return head + hashlib.sha256(head).digest()


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
        size = int.from_bytes(self.container[10:14], "big")
        self.body = self.container[14 : 14 + size]

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
        """Go the way of a rewrap; the name of the error, or ``opened``."""
        try:
            record = Record.unpack(container)

            opened = ParsedRecord.of(container).open(self.keyring)
            opened.rewrapped(self.epoch, size=len(container))
            open_header(opened.key, record.sealed)
        except (AuthenticationError, NoMatchingIdentityError) as error:
            assert str(error) in ("authentication failed", "no matching identity")  # noqa: PT017 - and go on
            assert error.__cause__ is None  # noqa: PT017
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
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(changed))
        kind = chance.randrange(5)
        if kind == 0:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 9)]
        elif kind == 2:
            changed[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 3:
            changed[at] ^= 1 << chance.randrange(8)
        else:
            changed[at] = chance.choice(_MARKS)
    return bytes(changed) if len(changed) % 2 == 0 else bytes(changed) + b"\0"


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
