"""Sections to look at: images, histograms, scatter plots."""

from __future__ import annotations

import io

import numpy as np

from iomt_crypt.analysis.image import decode_frame
from iomt_crypt.analysis.metric import DIRECTIONS, Samples, adjacent, flip_key_bit, flip_one_bit
from iomt_crypt.analysis.report.content import Check, Exhibit, Section
from iomt_crypt.analysis.report.engine import round_trip
from iomt_crypt.analysis.report.figure import draw_histogram, draw_scatter
from iomt_crypt.analysis.report.picture import png, show_decoded, show_difference, show_input, show_noise
from iomt_crypt.analysis.report.subject import Subject


def images(subject: Subject) -> Section:
    """Input, cipher image, decrypted image and their difference; what a changed bit of input and key does."""
    frame, encrypted = subject.frame, subject.encrypted
    decrypted = subject.engine.decrypt(encrypted, subject.key, subject.nonce)
    identical = bool(np.array_equal(decrypted, frame.image))
    difference, largest = show_difference(frame, frame.image, decrypted)
    carrier = frame.form == "carrier"
    first = [
        _picture(show_input(frame, frame.image), "Input (compressed data in its raster)" if carrier else "Input"),
        _picture(show_noise(frame, encrypted), "Encrypted by the image cipher"),
        _picture(show_input(frame, decrypted), "Decrypted"),
        _picture(difference, f"Input and decrypted: differences, the largest is {largest}"),
    ]
    rows = [tuple(first), _changed_bits(subject)]
    if carrier and frame.decoded is not None:
        rows.insert(0, _decoded(subject))
    return Section(
        "images",
        "Images",
        (
            "Noise is shown over the whole range of the cell and thinned without averaging. The input is shown as a "
            "viewer would show it.",
        ),
        checks=(Check("Decrypted image equals the input", identical, f"words compared: {frame.image.size}"),),
        exhibits=tuple(rows),
    )


def histograms(subject: Subject) -> Section:
    """How often each value occurs, in input, cipher image and decrypted image."""
    frame = subject.frame
    decrypted = subject.engine.decrypt(subject.encrypted, subject.key, subject.nonce)
    stages = (("input", frame.image), ("encrypted", subject.encrypted), ("decrypted", decrypted))
    row = []
    for stage, image in stages:
        paper, page = draw_histogram(frame, image, stage, flat=stage == "encrypted")
        n_values = int(np.count_nonzero(np.bincount(image.reshape(-1))))
        alt = f"Histogram of the {stage} image: {n_values} different values occur."
        row.append(Exhibit(paper, stage.capitalize(), alt, page))
    text = (
        "In 256 bins: input and decrypted image over the values that they use, the cipher image over everything that a "
        "cell can hold. Heights are square roots, or one peak would hide the rest. The dashed line is a perfectly flat "
        "histogram; an ideal cipher's bins scatter about it.",
    )
    return Section("histograms", "Histograms", text, exhibits=(tuple(row),))


def scatters(subject: Subject) -> Section | None:
    """Pairs of neighbours before and after; None for a plane too narrow for any pair."""
    frame = subject.frame
    channel, plain = frame.planes(frame.image)[0]
    encrypted = frame.planes(subject.encrypted)[0][1]
    rows = []
    for stage, plane in (("input", plain), ("encrypted", encrypted)):
        row = []
        for direction in DIRECTIONS:
            if adjacent(plane, direction)[0].size == 0:
                continue
            rng = subject.rng("scatter")
            paper, page = draw_scatter(subject.frame, plane, direction, stage, rng=rng, whole=stage == "encrypted")
            what = f"{stage.capitalize()}, {direction}"
            alt = f"Scatter plot of {direction} neighbours of the {stage} image."
            row.append(Exhibit(paper, what, alt, page))
        rows.append(tuple(row))
    if not rows[0]:
        return None
    which = f" of the {channel} channel" if channel else ""
    text = (
        f"3000 random pairs{which}: neighbours of an image resemble each other and lie on the diagonal, "
        "those of noise fill the square. The axes of the input span the values that occur, those of the cipher image "
        "the whole cell.",
    )
    return Section("scatter", "Neighbouring samples", text, exhibits=tuple(rows))


def _changed_bits(subject: Subject) -> tuple[Exhibit, ...]:
    frame, rng = subject.frame, subject.rng("changed bits")
    changed = subject.engine.encrypt(flip_one_bit(frame.image, rng=rng), subject.key, subject.nonce)
    difference, _ = show_difference(frame, subject.encrypted, changed)
    wrong = subject.engine.decrypt(subject.encrypted, flip_key_bit(subject.key, rng), subject.nonce)
    stored = subject.engine.seal(frame.image).image
    return (
        _picture(show_noise(frame, changed), "Encrypted after one bit of the input was flipped"),
        _picture(difference, "Difference of the two cipher images"),
        _picture(show_noise(frame, wrong), "Decrypted with one bit of the key flipped"),
        _picture(show_noise(frame, stored), f"As the suite {subject.settings.suite} stores it"),
    )


def _decoded(subject: Subject) -> tuple[Exhibit, ...]:
    """The decoded image of a compressed object before and after a round trip of the whole object."""
    frame = subject.frame
    if frame.decoded is None:
        return ()
    exhibits = [_picture(show_decoded(frame, frame.decoded), "Input, decoded")]
    _, back = round_trip(subject.path.read_bytes(), subject.settings.suite)
    decoded = decode_frame(io.BytesIO(back), frame.number)
    if decoded is not None:
        exhibits.append(_picture(show_decoded(frame, decoded), "Decrypted object, decoded"))
    return tuple(exhibits)


def _picture(picture: Samples, caption: str) -> Exhibit:
    rows, columns = picture.shape[:2]
    return Exhibit(png(picture), caption, f"{caption}; shown with {columns} x {rows} samples")
