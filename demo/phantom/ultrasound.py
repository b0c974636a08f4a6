"""A beating heart under a phased-array probe: speckled B-mode in a sector, a colour Doppler window and an ECG trace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demo.phantom.field import Field, blur, cover, ellipse

US_ROWS, US_COLUMNS = 240, 320
# Scanned depth and half opening angle of the sector.
_DEPTH_MM, _HALF_ANGLE = 150.0, 0.72
_BEAMS, _SAMPLES = 160, 400
_MM_PER_PIXEL = 0.70
_APEX_ROW = 12


def loop(seed: int, n_frames: int) -> NDArray[np.uint8]:
    """One heart beat.

    Returns
    -------
    ndarray
        (n_frames, 240, 320, 3) of uint8, RGB.
    """
    rng = np.random.default_rng(seed)
    scatter = rng.standard_normal((2, _SAMPLES, _BEAMS), dtype=np.float32)
    mottle = blur(rng.standard_normal((_SAMPLES, _BEAMS), dtype=np.float32), (9, 5))
    mottle /= mottle.std()
    flow_grain = blur(rng.standard_normal((US_ROWS, US_COLUMNS), dtype=np.float32), 1.6)
    flow_grain /= flow_grain.std()
    frames = np.zeros((n_frames, US_ROWS, US_COLUMNS, 3), np.uint8)
    for index in range(n_frames):
        beat = index / n_frames
        fresh = 0.25 * rng.standard_normal(scatter.shape, dtype=np.float32)
        grey = _scan_convert(_b_mode(scatter + fresh, mottle, beat))
        frame = np.repeat(grey[:, :, None], 3, axis=2)
        _doppler(frame, flow_grain, beat)
        _furniture(frame, beat)
        frames[index] = np.clip(np.rint(frame), 0, 255).astype(np.uint8)
    return frames


def _squeeze(beat: float) -> float:
    """Contraction of the ventricles: 0 in diastole, 1 at the end of systole."""
    return float(np.exp(-(((beat - 0.34) / 0.15) ** 2)) + 0.12 * np.exp(-(((beat - 0.86) / 0.06) ** 2)))


def _chambers(x: Field, y: Field, beat: float) -> tuple[Field, Field, Field]:
    """Depth in mm inside the blood pools, the muscle around them and the valve leaflets; y goes away from the probe."""
    squeeze = _squeeze(beat)
    base = 84 - 7 * squeeze
    ventricle = ellipse(x - 12, y - (base + 30) / 2 + 4, 20 - 5.5 * squeeze, (base - 24) / 2 - 2 * squeeze, 0.10)
    right = ellipse(x + 21, y - (base + 40) / 2, 13 - 3 * squeeze, (base - 38) / 2, -0.16)
    atrium = ellipse(x - 13, y - base - 21, 18 + 3 * squeeze, 16 + 2 * squeeze)
    right_atrium = ellipse(x + 22, y - base - 19, 16 + 2 * squeeze, 15 + 2 * squeeze)
    blood = np.maximum.reduce([ventricle, right, atrium, right_atrium])
    muscle = ellipse(x + 1, y - 66, 47 - 3 * squeeze, 56, 0.04)
    opening = (1 - squeeze) * (0.55 + 0.45 * float(np.cos(4 * np.pi * (beat - 0.62))))
    leaflets = []
    for middle, half in ((12.0, 15.0), (-21.0, 11.0)):
        for side in (-1, 1):
            along = np.clip((x - middle) * side / half, 0, 1)
            plane = base - 2 + (1 - along) * 14 * (opening - 0.25)
            free = ((x - middle) * side < half * opening * 0.55) | (along >= 1)
            leaflets.append(1.3 - np.abs(y - plane) - 40 * free)
    return blood, muscle, np.maximum.reduce(leaflets)


def _b_mode(scatter: Field, mottle: Field, beat: float) -> Field:
    """Log-compressed echo amplitude on the beams: (samples, beams), 0..255."""
    depth = np.linspace(1, _DEPTH_MM, _SAMPLES, dtype=np.float32)[:, None]
    angle = np.linspace(-_HALF_ANGLE, _HALF_ANGLE, _BEAMS, dtype=np.float32)[None, :]
    x, y = depth * np.sin(angle), depth * np.cos(angle)
    blood, muscle, leaflet = _chambers(x, y, beat)
    echo = np.full(x.shape, -17.0, np.float32) + 3.2 * mottle
    inside = cover(muscle, 2)
    echo += inside * (7.0 + 3 * np.sin(x / 3 + y / 9))
    pericardium = cover(2.2 - np.abs(muscle), 2) * cover(y - 20, 20)
    echo += pericardium * 17
    wall = cover(blood + 1.6, 1.5) * cover(1.2 - blood, 1.5)
    echo += wall * 8
    echo -= cover(blood, 2.0) * 33
    echo = np.where(leaflet > 0, 1.0, echo)
    echo += cover(9 - y, 6) * 14 - 0.05 * np.maximum(y - 70, 0)
    shadow = np.exp(-(((angle + 0.52) / 0.05) ** 2)) * cover(y - 15, 20)
    echo -= 11 * shadow
    amplitude = 10 ** (echo / 20)
    # The resolution cell: short along the beam, wider and wider across it.
    narrow = np.hypot(blur(scatter[0] * amplitude, (1.1, 0.8)), blur(scatter[1] * amplitude, (1.1, 0.8)))
    broad = np.hypot(blur(scatter[0] * amplitude, (1.1, 1.9)), blur(scatter[1] * amplitude, (1.1, 1.9)))
    far = np.clip(depth / _DEPTH_MM, 0, 1)
    level = 20 * np.log10(narrow * (1 - far) + 1.5 * broad * far + 1e-4)
    grey: Field = np.clip((level + 50) / 50 * 255, 0, 255).astype(np.float32)
    return grey


def _pixel_geometry() -> tuple[Field, Field]:
    column = (np.arange(US_COLUMNS, dtype=np.float32) - (US_COLUMNS - 1) / 2)[None, :] * _MM_PER_PIXEL
    row = (np.arange(US_ROWS, dtype=np.float32) - _APEX_ROW)[:, None] * _MM_PER_PIXEL
    return np.broadcast_to(column, (US_ROWS, US_COLUMNS)), np.broadcast_to(row, (US_ROWS, US_COLUMNS))


def _scan_convert(beams: Field) -> Field:
    """Beams to pixels, bilinear."""
    x, y = _pixel_geometry()
    depth, angle = np.hypot(x, y), np.arctan2(x, np.maximum(y, 1e-3))
    inside = (np.abs(angle) < _HALF_ANGLE) & (depth > 2) & (depth < _DEPTH_MM) & (y > 0)
    row = np.clip((depth - 1) / (_DEPTH_MM - 1) * (_SAMPLES - 1), 0, _SAMPLES - 1.001)
    column = np.clip((angle + _HALF_ANGLE) / (2 * _HALF_ANGLE) * (_BEAMS - 1), 0, _BEAMS - 1.001)
    i, j = row.astype(int), column.astype(int)
    v, u = row - i, column - j
    value = (beams[i, j] * (1 - u) + beams[i, j + 1] * u) * (1 - v) + (
        beams[i + 1, j] * (1 - u) + beams[i + 1, j + 1] * u
    ) * v
    picture: Field = np.where(inside, value, 0).astype(np.float32)
    return picture


def _doppler(frame: Field, flow_grain: Field, beat: float) -> None:
    """Velocity towards the probe in red to yellow, away in blue to cyan, inside a sector window; in place."""
    x, y = _pixel_geometry()
    depth, angle = np.hypot(x, y), np.arctan2(x, np.maximum(y, 1e-3))
    window = (np.abs(angle - 0.13) < 0.24) & (depth > 38) & (depth < 118)
    blood, _, _ = _chambers(x, y, beat)
    squeeze = _squeeze(beat)
    inflow = (1 - squeeze) * (0.35 + 0.65 * float(np.exp(-(((beat - 0.62) / 0.1) ** 2))))
    jet = inflow * np.exp(-(((x - 12) / 9) ** 2)) * np.exp(-(((y - 78) / 26) ** 2))
    leak = squeeze * np.exp(-(((x - 11 - (y - 80) * 0.15) / 4.5) ** 2)) * np.exp(-(((y - 96) / 15) ** 2))
    out = 0.55 * squeeze * np.exp(-(((x - 5) / 10) ** 2)) * np.exp(-(((y - 62) / 20) ** 2))
    speed = np.clip(jet - leak - out + 0.10 * flow_grain * (jet + leak + out > 0.12), -1, 1)
    shown = window & (blood > 0.5) & (np.abs(speed) > 0.13)
    frame[shown] = _flow_colour(speed[shown])
    inner = np.roll(window, 1, 0) & np.roll(window, -1, 0) & np.roll(window, 1, 1) & np.roll(window, -1, 1)
    edge = window & ~inner
    frame[edge] = (170, 170, 90)


def _flow_colour(speed: Field) -> Field:
    fast = np.abs(speed)[:, None]
    bright, pale, none = 145 * np.minimum(fast * 1.6, 1), 255 * np.clip(fast * 1.7 - 0.6, 0, 1), 0 * fast
    towards = np.concatenate([110 + bright, pale, none], axis=1)
    away = np.concatenate([none, pale, 110 + bright], axis=1)
    colour: Field = np.where(speed[:, None] > 0, towards, away).astype(np.float32)
    return colour


def _furniture(frame: Field, beat: float) -> None:
    """Grey and velocity bars, depth ticks and the ECG; in place."""
    bar = np.linspace(1, -1, 70, dtype=np.float32)
    frame[20:90, 303:311] = np.repeat(_flow_colour(np.where(bar == 0, 0.01, bar))[:, None, :], 8, axis=1)
    frame[110:180, 303:311] = np.linspace(255, 0, 70)[:, None, None]
    for depth in range(0, 151, 10):
        row = int(_APEX_ROW + depth / _MM_PER_PIXEL)
        if row < US_ROWS:
            frame[row, 292 - (6 if depth % 50 == 0 else 3) : 292] = 190
    _ecg(frame, beat)


def _ecg(frame: Field, beat: float) -> None:
    """Two beats in green and a line where the picture stands; in place."""
    column = np.arange(8, 120)
    phase = ((column - 8) / 56) % 1
    trace = 0.12 * np.exp(-(((phase - 0.08) / 0.03) ** 2)) - 0.12 * np.exp(-(((phase - 0.165) / 0.012) ** 2))
    trace += np.exp(-(((phase - 0.2) / 0.014) ** 2)) - 0.2 * np.exp(-(((phase - 0.235) / 0.014) ** 2))
    trace += 0.25 * np.exp(-(((phase - 0.48) / 0.05) ** 2))
    height = 230 - 26 * trace
    for x, y, before in zip(column, height, np.roll(height, 1), strict=True):
        low, high = sorted((int(y), int(before) if x > 8 else int(y)))
        frame[low : high + 1, x] = (70, 210, 110)
    now = 8 + 56 + int(56 * beat)
    frame[200:236, now] = (200, 200, 200)
