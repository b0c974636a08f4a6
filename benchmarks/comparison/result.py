"""What was measured of a scheme, in a form that JSON keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from iomt_crypt.analysis.attack import AttackResult


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric over several images or trials.

    Parameters
    ----------
    mean
        Of all values.
    ideal
        Mean of what an ideal cipher is expected to show; None where there is no expectation.
    n_inside, n_total
        Values within the range that an ideal cipher keeps to in 95 % of all cases, of all values.
    mean_passed
        Whether the mean itself is in a range that an ideal cipher keeps to in 99.9 % of all cases; true where no law
        of the mean is at hand.
    """

    mean: float
    ideal: float | None
    n_inside: int
    n_total: int
    mean_passed: bool = True


@dataclass(frozen=True, slots=True)
class Security:
    """Metrics of a scheme's cipher images of one size, by name.

    Parameters
    ----------
    side, n_images
        Rows and columns of each image, and how many.
    figures
        By the names of `benchmarks.comparison.measurement.FIGURES`; those of a fresh nonce are missing where the scheme
        has none.
    """

    side: int
    n_images: int
    figures: dict[str, Figure]


@dataclass(frozen=True, slots=True)
class Randomness:
    """SP 800-22 on one cipher image: P-values at or above 0.01, all P-values, tests with one below, tests left out."""

    side: int
    n_passed: int
    n_total: int
    failed: list[str]
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class Practice:
    """What a scheme costs.

    Parameters
    ----------
    n_exact, n_images
        Images that came back bit for bit, of all.
    psnr_db, worst_psnr_db, ssim
        Mean and smallest PSNR and mean SSIM of images that did not; None if there were none.
    encrypt, decrypt
        10^6 bytes a second of one core.
    encrypt_ratio, decrypt_ratio
        The same over AES-256-GCM in the same run.
    """

    n_exact: int
    n_images: int
    psnr_db: float | None
    worst_psnr_db: float | None
    ssim: float | None
    encrypt: float
    decrypt: float
    encrypt_ratio: float
    decrypt_ratio: float


@dataclass(frozen=True, slots=True)
class Result:
    """All about one scheme; `fresh_attacks` is empty where the scheme has no nonce."""

    name: str
    source: str
    uses_nonce: bool
    security: list[Security]
    randomness: Randomness
    attacks: list[AttackResult]
    fresh_attacks: list[AttackResult]
    practice: Practice


@dataclass(frozen=True, slots=True)
class Comparison:
    """All schemes, in the order of the tables, and the images, each as "name, bits stored"."""

    images: dict[str, list[str]]
    results: list[Result]

    def to_dict(self) -> dict[str, Any]:
        """Return plain types only, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Comparison:
        """Undo `to_dict`."""
        return cls(plain["images"], [_result(row) for row in plain["results"]])


def _result(row: dict[str, Any]) -> Result:
    security = [
        Security(part["side"], part["n_images"], {name: Figure(**figure) for name, figure in part["figures"].items()})
        for part in row["security"]
    ]
    attacks, fresh = ([AttackResult(**attack) for attack in row[part]] for part in ("attacks", "fresh_attacks"))
    known = {
        "security": security,
        "attacks": attacks,
        "fresh_attacks": fresh,
        "randomness": Randomness(**row["randomness"]),
        "practice": Practice(**row["practice"]),
    }
    return Result(**{**row, **known})
