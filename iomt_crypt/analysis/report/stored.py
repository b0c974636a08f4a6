"""Sections about what the suite stores: frame, tag, whole object; keys and their number."""

from __future__ import annotations

from iomt_crypt.analysis.image import MAXIMUM_FRAME_BYTES
from iomt_crypt.analysis.metric import flip_key_bit, flip_one_bit
from iomt_crypt.analysis.report.content import Check, Section, Table
from iomt_crypt.analysis.report.engine import Sealed, round_trip
from iomt_crypt.analysis.report.statistic import stored_rows
from iomt_crypt.analysis.report.subject import Subject
from iomt_crypt.cipher import constant
from iomt_crypt.seal.schedule import KEY_BYTES

#: Largest file that is encrypted as a whole, in memory.
_MAXIMUM_FILE_BYTES = 4 * MAXIMUM_FRAME_BYTES


def stored(subject: Subject) -> Section:
    """The frame as the suite stores it: figures, and what its tag is good for."""
    suite, engine, rng = subject.settings.suite, subject.engine, subject.rng("stored")
    sealed = engine.seal(subject.image)
    opened = engine.open(sealed)
    damaged = Sealed(flip_one_bit(sealed.image, rng=rng), sealed.tag)
    false_tag = Sealed(sealed.image, flip_key_bit(sealed.tag, rng))
    checks = [
        Check("The suite opens its frame to the input", bool((opened == subject.image).all()), "every word compared"),
        Check(
            "One flipped bit of the frame is rejected", engine.rejects(damaged), "AuthenticationError, memory zeroed"
        ),
        Check(
            "One flipped bit of the tag is rejected", engine.rejects(false_tag), "AuthenticationError, memory zeroed"
        ),
    ]
    if subject.frame.form != "picture":
        checks += _round_trip(subject)
    over = {
        "hybrid-1": "AES-256-GCM runs over the image cipher's output and would give any cipher ideal figures, so those "
        "of the other sections are of the image cipher alone.",
    }.get(suite, "This suite stores the image cipher's output as it is, with an HMAC-SHA-256 beside it.")
    text = (f"The frame in suite {suite}, with a tag of {len(sealed.tag)} bytes. {over}",)
    rows = stored_rows(subject, sealed.image) if subject.measurable else ()
    return Section("stored", "As stored by the suite", text, rows, tuple(checks))


def _round_trip(subject: Subject) -> list[Check]:
    size = subject.path.stat().st_size
    name = "The whole DICOM object comes back byte for byte"
    if size > _MAXIMUM_FILE_BYTES:
        return []
    data = subject.path.read_bytes()
    encrypted, back = round_trip(data, subject.settings.suite)
    return [Check(name, back == data and encrypted != data, f"{len(data)} bytes, encrypted {len(encrypted)}")]


def keys(subject: Subject) -> Section:
    """How many keys there are, and what that says."""
    lanes = constant.LANES * (32 + 32 + 31)
    rows = (
        ("Key of the image cipher", f"{8 * constant.KEY_BYTES} bits", "all of them enter SHAKE-256 with the tweak"),
        (
            "Round keys and repositioning key",
            f"{constant.ROUNDS + 1} x {8 * constant.KEY_BYTES} bits",
            "derived from the key; they add nothing to the key space",
        ),
        (
            "Start values of the chaotic lanes, each round",
            f"{lanes} bits",
            "derived from key and image; papers that count them as key space count too much",
        ),
        (
            "Data key of an object in a suite",
            f"{8 * KEY_BYTES} bits",
            "random for each object; HKDF-SHA-256 makes the keys of image cipher and tag",
        ),
        ("Search by a quantum computer (Grover)", f"{4 * KEY_BYTES} bits of work", "half of the key's bits"),
        (
            "Two frames with the same pooled features",
            "probability 2^-64 at most",
            "bound of the universal hash for two frames under one key, tweak and geometry: some 2^32 such frames are "
            "the limit. Suites give every object a key and every frame a tweak of its own",
        ),
        (
            "Effective strength of the image cipher",
            "not known, 256 bits at most",
            "there is no proof, and nobody outside of the project has examined it; in hybrid-1 AES-256-GCM does not "
            "depend on it",
        ),
    )
    text = (
        "By construction (docs/SPEC.md), not measured: a key space says how long guessing every key takes, and nothing "
        "about quicker ways.",
    )
    return Section("keys", "Key space", text, table=Table(("What", "How many", "What it means"), rows))


def limits(subject: Subject) -> Section:
    """What the report does not prove."""
    suite = subject.settings.suite
    decides = (
        "What protects the object is AES-256-GCM under a random key for each object, and HPKE around that key. If the "
        "image cipher fell, hybrid-1 would still hold."
        if suite == "hybrid-1"
        else "The suite chaos-cnn-1 is for research: nothing standard protects its pixels. Use hybrid-1 for patients."
    )
    share = f"{100 * subject.settings.alpha:g} %"
    text: tuple[str, ...] = (
        "Passing is necessary and not sufficient. Ciphers that were broken with a few chosen images had passed such "
        "tests, and AES in counter mode under a nonce that never changes passes those of single images. The figures "
        "find ciphers that are bad, and never show that one is good.",
        f"Every figure fails an ideal cipher with a probability of about {share}; a report without a single one "
        "outside its range is the exception. 'Better than ideal' does not exist: outside is outside, on either side.",
        "The figures are of one frame and of keys from a generator with a fixed seed. They say nothing about the keys "
        "of an installation, about the clear header of a DICOM object, or about who holds an identity.",
        decides,
    )
    if not subject.measurable:
        text += (
            "A frame of a few words is a small domain: under one key and tweak a single word is combined with a "
            "constant, and a handful can be told from random with few queries.",
        )
    return Section("limits", "What this report does not prove", text)
