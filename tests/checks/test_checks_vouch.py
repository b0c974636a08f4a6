"""One way in: whichever door, a cipher that is wrong lets nothing plain be written or answered with success.

The faults are those of tests/node/sabotage, put in place in this process. Each is blind to some of the checks.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from pydicom import dcmread
from synthetic import EXPLICIT, data_set, image, preamble
from typer.testing import CliRunner

import iomt_crypt
from iomt_crypt import cipher
from iomt_crypt.checks import vouch
from iomt_crypt.checks.likeness import is_untouched
from iomt_crypt.cipher import frame as frame_module
from iomt_crypt.dicom import read_file
from iomt_crypt.errors import IomtCryptError, KnownAnswerError
from iomt_crypt.node.status import PROCESSING_FAILURE, SUCCESS
from iomt_crypt.seal import SUITES, Epoch, Record, load_or_create_site_key
from iomt_crypt.seal.suite import Hybrid1, Suite

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "plugins" / "orthanc"))
SIDE, N_FRAMES = 64, 5
FROM = 8000  # bytes of a unit: the known answers are of smaller ones, and given by a cipher that is bad from here on
UID = "1.2.3.4"


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pixels() -> bytes:
    """Frames that differ, of smooth 12-bit values, none of them zero."""
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    return b"".join((across * 7 + down * 11 + n * 13 + 1).astype("<u2").tobytes() for n in range(N_FRAMES))


@pytest.fixture
def plain(tmp_path: Path, pixels: bytes) -> Path:
    folder = tmp_path / "plain"
    folder.mkdir()
    elements = image(pixels, rows=SIDE, columns=SIDE, bits=16, frames=N_FRAMES, uid=UID)
    elements |= {0x0020000D: ("UI", b"1.2.3"), 0x0020000E: ("UI", b"1.2.3.1")}
    (folder / "object.dcm").write_bytes(preamble(EXPLICIT) + data_set(elements))
    return folder / "object.dcm"


@dataclass
class House:
    """What a door needs. ``out`` is where results go, if they do."""

    plain: Path
    out: Path
    epoch: Epoch
    policy: iomt_crypt.Policy
    recipient: str
    site_key: Path
    identity: object
    again: Path

    def results(self) -> list[Path]:
        """All files of the place for results, but locks and keys."""
        return [
            p
            for p in self.out.rglob("*")
            if p.is_file() and p.name not in ("node.lock", "site.key", "ballast", "site-key.fingerprint")
        ]


@pytest.fixture
def house(tmp_path: Path, plain: Path, identity, policy) -> House:
    """An epoch for each test: trials are made once in an epoch."""
    (tmp_path / "out").mkdir()
    load_or_create_site_key(tmp_path / "site.key")
    epoch = Epoch.create([identity.recipient])
    again = tmp_path / "again.dcm"  # was encrypted well
    iomt_crypt.encrypt_file(plain, again, recipients=epoch, policy=policy)
    return House(
        plain, tmp_path / "out", epoch, policy, str(identity.recipient), tmp_path / "site.key", identity, again
    )


# Each door returns whether it says that all is well; or raises one of our errors.


def through_the_file(house: House) -> bool:
    iomt_crypt.encrypt_file(house.plain, house.out / "e.dcm", recipients=house.epoch, policy=house.policy)
    return True


def through_the_data_set(house: House) -> bool:
    ds = iomt_crypt.encrypt_dataset(dcmread(house.plain), recipients=house.epoch, policy=house.policy)
    ds.save_as(house.out / "e.dcm")
    return True


def through_the_command_line(house: House) -> bool:
    from iomt_crypt.cli.app import app

    options = ["-r", house.recipient, "--site-key", str(house.site_key), "-o", str(house.out)]
    done = CliRunner().invoke(app, ["encrypt", *options, str(house.plain.parent)])
    assert done.exit_code in (0, 1), done.output
    if done.exit_code:
        assert "object.dcm" in done.stderr
        assert "hint" in done.stderr
    return done.exit_code == 0


def received(house: House) -> tuple[bytes, str]:
    with house.plain.open("rb") as stream:
        source = read_file(stream)
    return house.plain.read_bytes()[source.dataset_offset :], source.text(0x00080016)


def through_the_node(house: House) -> bool:
    from iomt_crypt.checks.answer import check_answers
    from iomt_crypt.node.epoch import EpochSource
    from iomt_crypt.node.intake import Intake, Request
    from iomt_crypt.node.recipient import RecipientList
    from iomt_crypt.node.spool import Spool

    entries: list[object] = []
    spool = Spool(house.out, reserve_bytes=0)
    spool.create()
    epochs = EpochSource(
        RecipientList([house.recipient]), n_objects=9, hours=1.0, self_test=lambda: check_answers("hybrid-1")
    )
    journal = SimpleNamespace(add=entries.append)
    intake = Intake(spool=spool, journal=journal, epochs=epochs, policy=house.policy, wake=lambda: None)
    data, sop_class = received(house)
    answer = intake.accept(Request(data, EXPLICIT, sop_class, UID, "MODALITY"))
    assert answer.status in (SUCCESS, PROCESSING_FAILURE), answer
    assert len(entries) == (answer.status == SUCCESS)
    return answer.status == SUCCESS


def through_the_handler(house: House) -> bool:
    from iomt_crypt.node.handler import StoreHandler

    handler = StoreHandler(house.out, recipients=[house.recipient], site_key=house.site_key, reserve_bytes=0)
    try:
        data, sop_class = received(house)
        event = SimpleNamespace(
            request=SimpleNamespace(
                DataSet=io.BytesIO(data), AffectedSOPClassUID=sop_class, AffectedSOPInstanceUID=UID
            ),
            context=SimpleNamespace(transfer_syntax=EXPLICIT),
            assoc=SimpleNamespace(requestor=SimpleNamespace(ae_title="THEM")),
        )
        return handler(event).Status == SUCCESS
    finally:
        handler.close()


def through_orthanc(house: House) -> bool:
    from iomt_crypt_orthanc import quarantine
    from iomt_crypt_orthanc.protector import Protector

    from iomt_crypt.node.epoch import EpochSource
    from iomt_crypt.node.recipient import RecipientList

    quarantine.create(house.out / "quarantine")
    epochs = EpochSource(RecipientList([house.recipient]), n_objects=9, hours=1.0)
    protector = Protector(epochs=epochs, policy=house.policy, folder=house.out, on_failure="quarantine")
    outcome = protector.take(house.plain.read_bytes())
    assert (outcome.verdict == "encrypted") == bool(outcome.data)
    if outcome.data:
        (house.out / "stored.dcm").write_bytes(outcome.data)
    return outcome.verdict != "refused"  # the quarantine is answered with success too


def through_mercure(house: House) -> bool:
    module = load(ROOT / "plugins" / "mercure" / "process.py", "mercure_process_vouch")
    settings = {"recipients": [house.recipient], "site_key": str(house.site_key)}
    (house.plain.parent / "task.json").write_text(json.dumps({"process": {"settings": settings}}))
    module.process(house.plain.parent, house.out)
    return True


def through_monai_deploy(house: House, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The operator itself; of the SDK, which cannot be installed beside MONAI, the four names that it uses."""

    class Operator:
        def __init__(self, *args: object, **kwargs: object) -> None:
            pass

    core = ModuleType("monai.deploy.core")
    for name, value in {
        "Operator": Operator,
        "ConditionType": None,
        "Fragment": object,
        "OperatorSpec": object,
    }.items():
        setattr(core, name, value)
    monkeypatch.setitem(sys.modules, "monai.deploy", ModuleType("monai.deploy"))
    monkeypatch.setitem(sys.modules, "monai.deploy.core", core)
    module = load(ROOT / "plugins" / "monai_deploy" / "study_operator.py", "study_operator_vouch")
    operator = module.EncryptStudyOperator(
        None,
        output_folder=house.out,
        recipients=[house.recipient],
        site_key=house.site_key,
        input_folder=house.plain.parent,
    )
    emitted: list[object] = []
    try:
        operator.compute(None, SimpleNamespace(emit=lambda folder, _: emitted.append(folder)), None)
    except IomtCryptError:
        assert emitted == []
        raise
    return True


def through_rotation(house: House) -> bool:
    before = house.again.read_bytes()
    (house.out.parent / "tree").mkdir()
    path = house.out.parent / "tree" / "object.dcm"
    path.write_bytes(before)
    try:
        iomt_crypt.rekey_file(path, identities=[house.identity], recipients=[house.identity.recipient], rotate=True)
    except IomtCryptError:
        assert path.read_bytes() == before
        raise
    (house.out / "rotated.dcm").write_bytes(path.read_bytes())
    return True


def through_transforms(house: House) -> bool:
    from iomt_crypt.checks import EncryptPixels

    array = dcmread(house.plain).pixel_array
    encrypted = EncryptPixels(recipients=[house.recipient])(array)
    (house.out / "array").write_bytes(np.asarray(encrypted).tobytes())
    return True


DOORS = {
    "encrypt_file": through_the_file,
    "encrypt_dataset": through_the_data_set,
    "command line": through_the_command_line,
    "node": through_the_node,
    "StoreHandler": through_the_handler,
    "Orthanc": through_orthanc,
    "mercure": through_mercure,
    "MONAI Deploy": through_monai_deploy,
    "rekey --rotate": through_rotation,
    "EncryptPixels": through_transforms,
}


def nothing(self: Suite, index: int, unit: memoryview) -> bytes:
    return bytes(self.tag_bytes)


def does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """``seal`` and ``open`` of the suite do nothing."""

    class Nothing(Hybrid1):
        seal = nothing

        def open(self, index: int, frame: memoryview, tag: bytes) -> None:
            pass

    monkeypatch.setitem(SUITES, "hybrid-1", Nothing)


def seals_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Suite, "seal", nothing)


def record_that_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is encrypted well, and nobody could ever open it."""
    authenticated = Record.authenticated
    monkeypatch.setattr(
        Record,
        "authenticated",
        lambda self, key: authenticated(self, type(key)(os.urandom(32), key.object_id)),
    )


def key_that_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Epoch, "wrap", lambda self, key: key + bytes(8))


def wrong_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large units of real images one bit is lost before it is sealed: it opens, as something else."""
    seal = Suite.seal

    def bad(self: Suite, index: int, unit: memoryview) -> bytes:
        if len(unit) >= FROM and any(unit):
            unit[77] ^= 1
        return seal(self, index, unit)

    monkeypatch.setattr(Suite, "seal", bad)


def sabotage(words: str) -> Callable[[pytest.MonkeyPatch], None]:
    """As tests/node/sabotage does it in other processes."""

    def begin(monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, names in (
            (Suite, ("seal", "open")),
            (frame_module, ("encrypt_into", "decrypt_into")),
            (cipher, ("encrypt_into", "decrypt_into")),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, getattr(owner, name))  # put back afterwards
        monkeypatch.delenv("SABOTAGE", raising=False)
        module = load(ROOT / "tests" / "node" / "sabotage" / "sitecustomize.py", "sabotage_vouch")
        kind, depth, direction, from_bytes, spared = words.split()
        place = {"image": module._replace_image_cipher, "unit": module._replace_units}[depth]
        place(kind, direction == "both", int(from_bytes), spared)

    return begin


KINDS = ("identity", "permutation", "short-stream", "long-stream", "every-second-frame")
FAULTS = {
    "seal and open do nothing": does_nothing,
    "seal does nothing": seals_nothing,
    "the record does not open": record_that_does_not_open,
    "the key is not wrapped": key_that_is_not_wrapped,
    "one bit is lost": wrong_unit,
} | {
    words: sabotage(words)
    for words in (
        "identity image both 0 none",  # the image cipher alone, under AES
        "permutation unit encrypt 0 none",
        *(f"{kind} {depth} both {FROM} none" for kind in KINDS for depth in ("unit", "image")),
        f"identity unit both {FROM} zeros",  # right for the trial's frames
        f"every-second-frame unit both {FROM} zeros",
        f"long-stream unit encrypt {FROM} zeros",
    )
}


@pytest.fixture
def go(monkeypatch) -> Iterator[Callable[[str, House], bool]]:
    def through(door: str, house: House) -> bool:
        return DOORS[door](house, monkeypatch) if door == "MONAI Deploy" else DOORS[door](house)

    yield through
    for name in ("mercure_process_vouch", "study_operator_vouch", "sabotage_vouch"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("door", DOORS)
def test_the_doors_open_when_all_is_well(house, go, pixels, door):
    assert go(door, house)
    assert len([path for path in house.results() if path.suffix != ".json"]) == 1
    assert pixels[:64] not in b"".join(path.read_bytes() for path in house.results())


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_plain_is_written_or_answered_with_success(house, go, pixels, monkeypatch, door, fault):
    FAULTS[fault](monkeypatch)
    error = None
    try:
        well = go(door, house)
    except IomtCryptError as raised:
        well, error = False, raised
    assert not well
    assert error is None or error.hint
    assert house.results() == []
    for path in house.out.parent.rglob("*"):  # nor a draft anywhere
        if path.is_file() and path != house.plain:
            assert pixels[:64] not in path.read_bytes()


def test_the_first_pixel_is_written_after_the_trials(house, monkeypatch):
    """A cipher that does nothing at all is found before there is a draft with anything in it."""
    does_nothing(monkeypatch)
    sink = io.BytesIO()
    with house.plain.open("rb") as stream, pytest.raises(KnownAnswerError, match="known-answer test failed"):
        vouch.encrypt_source(read_file(stream), sink, original=stream, epoch=house.epoch, policy=house.policy)
    assert sink.getvalue() == b""


def test_the_original_is_what_the_result_is_compared_with(house):
    """The bytes of the file, and not what the parser made of them."""
    data = house.plain.read_bytes()
    for other in (data[:-1] + bytes([data[-1] ^ 1]), data + b"\0", data[:-2]):
        source, original = read_file(io.BytesIO(data)), io.BytesIO(other)
        with pytest.raises(KnownAnswerError, match="it gives other bytes"):
            vouch.encrypt_source(source, io.BytesIO(), original=original, epoch=house.epoch, policy=house.policy)


def test_what_it_cost_is_measured(house):
    with house.plain.open("rb") as stream:
        source = read_file(stream)
        done = vouch.encrypt_source(source, io.BytesIO(), original=stream, epoch=house.epoch, policy=house.policy)
    assert 0 < done.seconds < 60
    assert done.protected.original_sop_instance_uid == UID


class TestUntouched:
    @pytest.mark.parametrize("n_bytes", [7, 64, 1 << 16])
    def test_what_is_the_same(self, n_bytes):
        assert is_untouched(bytes(n_bytes), bytes(n_bytes))

    @pytest.mark.parametrize("n_bytes", [0, 1, 6])
    def test_a_few_bytes_may_be_chance(self, n_bytes):
        assert not is_untouched(bytes(n_bytes), bytes(n_bytes))

    def test_a_part_of_a_frame(self):
        noise = np.random.default_rng(3).integers(0, 256, 1 << 16, np.uint8)
        assert not is_untouched(noise.data, bytes(1 << 16))
        noise[5000:5200] = 0
        assert is_untouched(noise.data, bytes(1 << 16))

    def test_noise_is_never_taken_for_plain(self):
        chance = np.random.default_rng(4)
        for n_bytes in range(1, 400):
            for plain in (bytes(n_bytes), chance.bytes(n_bytes), bytes(range(256)) * 2):
                assert not is_untouched(chance.bytes(n_bytes), plain)


#: What encrypts without vouching, and who may use it: the door itself, what only foresees, and what only measures.
STEPS = {
    "protect": {"iomt_crypt/analysis/report/engine.py"},
    "prepare": {"iomt_crypt/checks/vouch.py", "iomt_crypt/archive/encryption.py"},
    "write": {"iomt_crypt/checks/vouch.py"},
    "protect_dataset": {"iomt_crypt/checks/vouch.py"},
    "rotate": {"iomt_crypt/checks/vouch.py"},
    "seal_image": {"iomt_crypt/checks/transform/array.py"},
}
HOMES = ("iomt_crypt.dicom", "iomt_crypt.dicom.protect", "iomt_crypt.dicom.dataset", "iomt_crypt.dicom.rekey")


def test_there_is_no_other_door():
    """Whoever adds a way to encrypt has to come by here."""
    users: dict[str, set[str]] = {step: set() for step in STEPS}
    for folder in ("iomt_crypt", "plugins", "demo", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if name.startswith("iomt_crypt/dicom/"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module in (*HOMES, "iomt_crypt.checks.transform.seal"):
                    for alias in node.names:
                        users.get(alias.name, set()).add(name)
    assert users == STEPS


def test_raw_doors_have_no_public_name():
    from iomt_crypt import dicom

    assert {"encrypt_file", "encrypt_dataset"}.isdisjoint(dir(dicom))
