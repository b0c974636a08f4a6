"""Figures of image ciphers, each beside what an ideal cipher would show for this word size and number of samples.

They work on any ``encrypt(image, key, nonce) -> image`` and on the images alone; nothing here knows a cipher. Passing
all of them is necessary and far from sufficient: AES-CTR with a constant nonce passes the statistical ones as well.
What each figure means, its ideal value and its limits: docs/REPORT.md.
"""

from iomt_crypt.analysis.metric.correlation import (
    DIRECTIONS,
    Direction,
    adjacent,
    adjacent_correlation,
    coefficient,
    mutual_correlation,
    scatter,
)
from iomt_crypt.analysis.metric.difference import (
    CriticalRange,
    critical_range,
    npcr,
    npcr_level,
    npcr_percent,
    uaci,
    uaci_percent,
)
from iomt_crypt.analysis.metric.entropy import (
    IdealEntropy,
    entropy_bits,
    entropy_range,
    global_entropy,
    ideal_entropy,
    local_entropy,
)
from iomt_crypt.analysis.metric.fidelity import (
    mean_difference,
    mean_squared_error,
    psnr_db,
    signal_to_noise,
    similarity,
    squared_error,
    ssim,
)
from iomt_crypt.analysis.metric.histogram import chi_square, fold, histogram
from iomt_crypt.analysis.metric.measurement import Measurement, Samples, Transform
from iomt_crypt.analysis.metric.robustness import (
    DAMAGES,
    Survival,
    crop,
    flip_one_bit,
    gaussian_noise,
    salt_and_pepper,
    survive,
)
from iomt_crypt.analysis.metric.sensitivity import (
    Trials,
    flip_key_bit,
    flipped_share,
    key_trials,
    plain_trials,
    wrong_key_image,
)
from iomt_crypt.analysis.metric.speed import Speed, measure_speed
from iomt_crypt.analysis.metric.texture import co_occurrence, texture

__all__ = [
    "DAMAGES",
    "DIRECTIONS",
    "CriticalRange",
    "Direction",
    "IdealEntropy",
    "Measurement",
    "Samples",
    "Speed",
    "Survival",
    "Transform",
    "Trials",
    "adjacent",
    "adjacent_correlation",
    "chi_square",
    "co_occurrence",
    "coefficient",
    "critical_range",
    "crop",
    "entropy_bits",
    "entropy_range",
    "flip_key_bit",
    "flip_one_bit",
    "flipped_share",
    "fold",
    "gaussian_noise",
    "global_entropy",
    "histogram",
    "ideal_entropy",
    "key_trials",
    "local_entropy",
    "mean_difference",
    "mean_squared_error",
    "measure_speed",
    "mutual_correlation",
    "npcr",
    "npcr_level",
    "npcr_percent",
    "plain_trials",
    "psnr_db",
    "salt_and_pepper",
    "scatter",
    "signal_to_noise",
    "similarity",
    "squared_error",
    "ssim",
    "survive",
    "texture",
    "uaci",
    "uaci_percent",
    "wrong_key_image",
]
