"""iomt-crypt send: the file's bytes as they are, failures by name."""

from __future__ import annotations

import json

import pytest
from node_harness import CT, MR, Archive, cli, dataset, part10, uid, write_object
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import build_context

from iomt_crypt.errors import InputError, NetworkError, NotDicomError
from iomt_crypt.node.client import Timeouts
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.transport import configure_pynetdicom

configure_pynetdicom()
IMPLICIT = "1.2.840.10008.1.2"
JPEG = "1.2.840.10008.1.2.4.50"


def _sender(archive: Archive, paths) -> Sender:
    return Sender(
        paths, Peer("ARCHIVE", "127.0.0.1", archive.port), calling_ae_title="US", timeouts=Timeouts(10.0, 20.0)
    )


def _open_archive() -> Archive:
    """An archive that accepts every class and syntax proposed."""
    syntaxes = [IMPLICIT, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", JPEG, "2.25.77"]
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    return Archive(contexts=[build_context(uid, syntaxes) for uid in classes])


def test_bytes_are_sent_as_they_are(tmp_path):
    archive = _open_archive()
    odd = dataset(1) + b"\x01"
    cases = {
        "whole": (part10(dataset(1), CT, uid(1)), dataset(1)),
        "odd length": (part10(odd, CT, uid(1)), odd),
        "no preamble": (dataset(2), dataset(2)),
        "no preamble, meta only": (part10(dataset(3), CT, uid(3))[132:], dataset(3)),
        "trailing padding": (part10(dataset(4) + bytes(64), CT, uid(4)), dataset(4) + bytes(64)),
        "unknown syntax": (part10(dataset(5), CT, uid(5), "2.25.77"), dataset(5)),
        "compressed, not looked at": (part10(dataset(6), CT, uid(6), JPEG), dataset(6)),
    }
    paths = []
    for name, (content, _) in cases.items():
        paths.append(tmp_path / f"{name}.dcm")
        paths[-1].write_bytes(content)
    sender = _sender(archive, paths)
    for path in paths:
        sender.send(path)
    sender.close()
    assert [stored.data for stored in archive.stored] == [data for _, data in cases.values()]
    assert archive.n_associations == 1
    archive.close()


def test_more_contexts_than_an_association_holds(tmp_path):
    """150 pairs of class and syntax: two associations, everything arrives."""
    archive = _open_archive()
    classes = sorted({str(context.abstract_syntax) for context in AllStoragePresentationContexts})[:75]
    assert len(classes) == 75
    paths = []
    for number, (sop_class, syntax) in enumerate((c, s) for c in classes for s in (IMPLICIT, JPEG)):
        paths.append(tmp_path / f"{number:04d}.dcm")
        paths[-1].write_bytes(part10(dataset(number, sop_class=sop_class), sop_class, uid(number), syntax))
    sender = _sender(archive, paths)
    for path in paths:
        sender.send(path)
    sender.close()
    assert len(archive.stored) == 150
    assert archive.n_associations == 2
    archive.close()


def test_what_is_not_an_object_to_store(tmp_path, archive):
    (tmp_path / "text.txt").write_text("not DICOM at all, by any means")
    (tmp_path / "DICOMDIR").write_bytes(part10(b"\x04\x00\x30\x11CS\x02\x00X ", "1.2.840.10008.1.3.10", uid(1)))
    sender = _sender(archive, [])
    for name in ("text.txt", "DICOMDIR"):
        with pytest.raises(NotDicomError):
            sender.send(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        sender.send(tmp_path / "absent.dcm")
    assert archive.n_associations == 0


def test_a_lost_association_costs_one_object(tmp_path, archive):
    def answer(n, event):
        if n == 2:
            event.assoc.abort()
        return {2: 0xC000, 3: 0xA700, 4: 0xB000}.get(n, 0)

    archive.answer = answer
    paths = [write_object(tmp_path, number) for number in range(6)]
    sender = _sender(archive, paths)
    outcome = []
    for path in paths:
        try:
            outcome.append(sender.send(path).warning)
        except NetworkError as error:
            outcome.append(str(error))
    sender.close()
    assert outcome[0] == outcome[4] == outcome[5] == ""
    assert "no answer" in outcome[1]
    assert "0xA700" in outcome[2]
    assert outcome[3].startswith("0xB000")
    assert archive.n_associations == 2


def test_command_line(tmp_path, archive):
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(4):
        write_object(folder, number, sop_class=MR if number == 3 else CT)
    (folder / "readme.txt").write_text("a file that is no image, as folders have them")
    (folder / "disk2").symlink_to(tmp_path)
    target = f"ARCHIVE@127.0.0.1:{archive.port}"
    done = cli("send", folder, "--to", target, "--json")
    assert done.returncode == 0, done.stderr
    assert f"skipped: {folder / 'disk2'}: a link" in done.stderr.replace("\n", "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(row["state"] for row in rows) == ["done"] * 4 + ["skipped"]
    named = cli("send", folder / "readme.txt", folder / "00000.dcm", "--to", target)
    assert named.returncode == 1
    assert "readme.txt" in named.stderr
    assert cli("send", folder, "--to", "nonsense").returncode in (1, 2)
    archive.close()
    away = cli("send", folder, "--to", target)
    assert away.returncode == 1
    assert away.stderr.count("cannot be reached") == 4
    assert "hint:" in away.stderr


@pytest.mark.parametrize(("code", "hint"), [(0x0111, "fetch it"), (0xA700, "later"), (0xC000, "")])
def test_a_refusal_says_what_to_do(code, hint, tmp_path, archive):
    archive.answer = lambda n, event: code
    sender = _sender(archive, [])
    with pytest.raises(NetworkError, match=f"0x{code:04X}") as caught:
        sender.send(write_object(tmp_path, 1))
    assert hint in caught.value.hint
    sender.close()
