"""Sections of figures that need many encryptions: one changed bit of the input or of the key, damage, speed."""

from __future__ import annotations

from dataclasses import replace

from iomt_crypt.analysis.metric import (
    DAMAGES,
    Measurement,
    Samples,
    Survival,
    Transform,
    key_trials,
    mean_difference,
    measure_speed,
    mutual_correlation,
    npcr,
    plain_trials,
    psnr_db,
    squared_error,
    survive,
    wrong_key_image,
)
from iomt_crypt.analysis.report.content import Check, Exhibit, Row, Section, Table, finite
from iomt_crypt.analysis.report.engine import Sealed
from iomt_crypt.analysis.report.picture import png, show_noise
from iomt_crypt.analysis.report.subject import Subject


def plain_sensitivity(subject: Subject) -> Section:
    """One flipped bit of the input: NPCR, UACI, avalanche."""
    trials = plain_trials(
        subject.engine.encrypt, subject.image, n_trials=subject.settings.n_trials, rng=subject.rng("plain trials")
    )
    text = (
        "Two cipher images under one key, of the input and of the input with one bit flipped: any bit of any sample. "
        "Each trial has a key of its own. The two should differ as if they had nothing in common.",
    )
    rows = tuple(Row(measurement) for measurement in trials.measurements(alpha=subject.settings.alpha))
    data = {"npcr": trials.npcr.tolist(), "uaci": trials.uaci.tolist(), "flipped": trials.flipped.tolist()}
    return Section("plain-sensitivity", "One changed bit of the input", text, rows, data=data)


def key_sensitivity(subject: Subject) -> Section:
    """One flipped bit of the key, for encryption and for decryption."""
    alpha, engine, image = subject.settings.alpha, subject.engine, subject.image
    trials = key_trials(engine.encrypt, image, n_trials=subject.settings.n_trials, rng=subject.rng("key trials"))
    _, wrong = wrong_key_image(engine.encrypt, engine.decrypt, image, rng=subject.rng("wrong key"))
    found = [
        ("Decrypted with the wrong key: ", npcr(image, wrong, alpha=alpha)),
        ("Decrypted with the wrong key: ", mean_difference(image, wrong, alpha=alpha)),
        ("Decrypted with the wrong key: ", squared_error(image, wrong, alpha=alpha)),
        ("Decrypted with the wrong key: ", mutual_correlation(image, wrong, alpha=alpha)),
    ]
    rows = [Row(measurement) for measurement in trials.measurements(alpha=alpha)]
    # MSE restates UACI.
    rows += [Row(_prefixed(prefix, m), counted=m.name != "MSE") for prefix, m in found]
    text = (
        "Two cipher images of the input, under a key and under the key with one bit flipped; and a cipher image that "
        "is decrypted with one bit of the key flipped, compared with the input.",
    )
    data = {"npcr": trials.npcr.tolist(), "uaci": trials.uaci.tolist(), "flipped": trials.flipped.tolist()}
    return Section("key-sensitivity", "One changed bit of the key", text, tuple(rows), data=data)


def robustness(subject: Subject) -> Section:
    """Damaged cipher images: what the bare cipher makes of them, and what the suite says."""
    engine, image, suite = subject.engine, subject.image, subject.settings.suite
    found = survive(
        engine.encrypt, engine.decrypt, image, rng=subject.rng("damage"), key=subject.key, nonce=subject.nonce
    )
    sealed, rng = engine.seal(image), subject.rng("damage")
    rejected = [_rejected(subject, sealed, damage(sealed.image, rng)) for _, damage in DAMAGES]
    rows, exhibits = [], []
    for survival, is_rejected in zip(found, rejected, strict=True):
        verdict = "rejected, nothing released" if is_rejected else "accepted or released"
        numbers = (survival.damaged_percent, survival.psnr_db, survival.intact_percent)
        rows.append((survival.damage, *(f"{number:.4g}" for number in numbers), verdict))
        caption = f"After {survival.damage}, decrypted without the tag"
        exhibits.append(Exhibit(png(show_noise(subject.frame, survival.image)), caption, caption))
    noise = psnr_db(image, subject.encrypted)
    text = (
        "What is left when a cipher image is damaged on its way. Papers ask that something recognisable remains. Here "
        f"every output bit depends on every input bit, so one flipped bit leaves noise (for comparison: {noise:.2f} dB "
        "between input and cipher image); no figure of this kind can be good for both ends. It is the tag of the suite "
        "that decides: a damaged frame is rejected, and none of it is released.",
    )
    header = ("Damage", "Samples changed, %", "PSNR without tag, dB", "Samples intact, %", f"Suite {suite}")
    checks = tuple(
        Check(f"The suite rejects: {s.damage}", ok, "AuthenticationError; the frame's memory is zeroed")
        for s, ok in zip(found, rejected, strict=True)
    )
    data = [_survival_dict(s, is_rejected=ok) for s, ok in zip(found, rejected, strict=True)]
    table = Table(header, tuple(rows), tuple(rejected))
    return Section(
        "robustness",
        "Damaged cipher images",
        text,
        checks=checks,
        table=table,
        exhibits=(tuple(exhibits),),
        list_checks=False,
        data=data,
    )


def speed(subject: Subject) -> Section:
    """CPU time of this frame, beside AES-256-GCM."""
    engine = subject.engine

    def seal(image: Samples, key: bytes, nonce: bytes) -> Samples:
        return engine.seal(image).image

    transforms: dict[str, Transform] = {
        "Image cipher, encrypt": engine.encrypt,
        "Image cipher, decrypt": engine.decrypt,
        f"Suite {subject.settings.suite}, encrypt": seal,
    }
    found = measure_speed(transforms, subject.image)
    rows = tuple(
        (name, f"{1e3 * s.seconds:.4g}", f"{s.megabytes_per_second:.4g}", f"{s.of_aes_gcm:.3g}")
        for name, s in found.items()
    )
    text = (
        f"CPU time of this machine for this frame ({subject.image.nbytes} bytes), medians of rounds that take turns. "
        "Only the ratio to AES-256-GCM (OpenSSL) in the same run tells something about the cipher.",
    )
    data = {
        name: {"seconds": s.seconds, "megabytes_per_second": s.megabytes_per_second, "of_aes_gcm": s.of_aes_gcm}
        for name, s in found.items()
    }
    table = Table(("Operation", "ms for the frame", "MB/s", "of AES-256-GCM"), rows)
    return Section("speed", "Run time", text, table=table, data=data)


def _survival_dict(survival: Survival, *, is_rejected: bool) -> dict[str, object]:
    return {
        "damage": survival.damage,
        "damaged_percent": survival.damaged_percent,
        "psnr_db": finite(survival.psnr_db),
        "intact_percent": survival.intact_percent,
        "suite_rejects": is_rejected,
    }


def _rejected(subject: Subject, sealed: Sealed, damaged: Samples) -> bool:
    return subject.engine.rejects(Sealed(damaged, sealed.tag))


def _prefixed(prefix: str, measurement: Measurement) -> Measurement:
    return replace(measurement, name=prefix + measurement.name)
