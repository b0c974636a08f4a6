"""The guard before the door: one MONAI Compose over an object that is about to leave, and its verdict.

The cryptographic checks decide: known answers and read-back when the object is encrypted, and here that its file is the
one that was written, and whole. Statistics and classifier raise the alarm when pixels look plain all the same.
"""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from iomt_crypt.checks.cell import Cells, Frame
from iomt_crypt.checks.likeness import COMPARED_WORDS, share_stream
from iomt_crypt.checks.policy import GuardPolicy
from iomt_crypt.checks.statistic import ALARMS, MINIMUM_WORDS
from iomt_crypt.errors import ConfigurationError, IomtCryptError, PlainImageError

try:
    import torch
    from monai.config.type_definitions import KeysCollection
    from monai.transforms.compose import Compose
    from monai.transforms.transform import MapTransform, Transform

    from iomt_crypt.checks.classifier import Classifier
    from iomt_crypt.checks.transform import CheckIntegrityd, CipherStatisticsd, ClassifyEncryptedd, LoadCellsd
except ModuleNotFoundError as error:
    raise ConfigurationError(
        f"the guard needs a package that is not installed: {error.name}",
        hint="pip install 'iomt-crypt[checks]'; or do without it: checks.policy = \"off\"",
    ) from error

Item = Mapping[Hashable, Any]

_SHOWN = 4  # alarms of one kind that are named; the others are counted


@dataclass(frozen=True)
class Alarm:
    """One reason not to let an object leave. ``reason`` has no value of the object's header."""

    check: str
    reason: str

    def __str__(self) -> str:
        return f"{self.check}: {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """What the guard found. ``cost_s`` is CPU time of the calling thread in seconds."""

    passed: bool
    alarms: tuple[Alarm, ...]
    cost_s: float

    def __str__(self) -> str:
        return "; ".join(map(str, self.alarms)) or "passed"


class Guard:
    """Checks objects before they leave. Not thread safe.

    Raises
    ------
    ConfigurationError
        A check cannot run: a package or the classifier's weights are missing, or a site's own check cannot be loaded.
    """

    def __init__(self, policy: GuardPolicy) -> None:
        self.policy = policy
        torch.set_num_threads(policy.n_threads)
        found: list[Transform] = [
            Digestd(keys="object"),
            CheckIntegrityd(keys="object"),
            LoadCellsd(keys="object", n_frames=policy.n_frames),
            CipherStatisticsd(keys="cells"),
            CompareStreamsd(keys="cells"),
        ]
        threshold = 0.0
        if policy.classifier:
            # Loaded now, so that weights that are missing or damaged keep the node from starting.
            threshold = Classifier.load().threshold
            found.append(ClassifyEncryptedd(keys="cells"))
        own = [_load(name) for name in policy.own]
        self._checks = [*found, RejectAlarmsd(keys="object", threshold=threshold), *own]
        self._compose = Compose(self._checks)

    def check(self, source: str | Path | BinaryIO, *, sha256: bytes | None = None) -> Verdict:
        """Check one object.

        Parameters
        ----------
        source
            A path, or a stream (readable, seekable) that stays open.
        sha256
            What the file must have; None: not known.

        Returns
        -------
        Verdict
            Also for what cannot be read, or makes a check fail: nothing is raised.
        """
        started = time.thread_time()
        try:
            if isinstance(source, str | Path):
                with Path(source).open("rb") as stream:
                    self._compose({"object": stream, "sha256": sha256})
            else:
                self._compose({"object": source, "sha256": sha256})
            alarms: tuple[Alarm, ...] = ()
        except Exception as error:  # noqa: BLE001 - whatever a check does, an object it failed on does not leave
            alarms = self._alarms(error)
        return Verdict(not alarms, alarms, time.thread_time() - started)

    def _alarms(self, error: Exception) -> tuple[Alarm, ...]:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        if isinstance(cause, _AlarmError):
            return cause.alarms
        check = self._check_of(cause.__traceback__)
        if isinstance(cause, IomtCryptError):
            return (Alarm(check, str(cause)),)
        # Its message may quote a value of the object.
        return (Alarm(check, f"the check failed: {type(cause).__name__}"),)

    def _check_of(self, traceback: TracebackType | None) -> str:
        """Name of the check in which an exception was raised."""
        while traceback is not None:
            owner = traceback.tb_frame.f_locals.get("self")
            if any(owner is check for check in self._checks):
                return type(owner).__name__
            traceback = traceback.tb_next
        return "object"


class Digestd(MapTransform):
    """Adds the SHA-256 of the stream at each key: ``d["object_sha256"]`` for the key "object".

    The stream is left at its beginning.
    """

    def __init__(self, keys: KeysCollection, *, postfix: str = "sha256", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._postfix = postfix

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            stream = cast(Any, d[key])
            stream.seek(0)
            d[f"{key}_{self._postfix}"] = hashlib.file_digest(stream, "sha256").digest()
            stream.seek(0)
        return d


class CompareStreamsd(MapTransform):
    """Adds to each key's cells whether a frame shares its key stream with another: ``d["cells_streams"]``.

    Each frame is compared with the one before it, and the first with the first of the object that was seen before: a
    key stream that is the same for all objects shows nowhere else. The value is a tuple of what was found, in words.
    """

    def __init__(self, keys: KeysCollection, *, postfix: str = "streams", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._postfix = postfix
        self._before: Frame | None = None
        self._digest_before: bytes | None = None

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{key}_{self._postfix}"] = tuple(self._compare(cast(Any, d[key]), d.get("object_sha256")))
        return d

    def _compare(self, cells: Cells, digest: bytes | None) -> Iterator[str]:
        # A file that is sent again after a failure is the same one, and no second use of its key.
        new = self._before is not None and (digest is None or digest != self._digest_before)
        if new and cells.frames and share_stream(cast(Frame, self._before), cells.frames[0]):
            yield "the object before has the same key stream"
        for index, (first, second) in zip(cells.indices[1:], pairwise(cells.frames), strict=True):
            if share_stream(first, second):
                yield f"frame {index} has the key stream of another frame"
        if cells.frames:
            self._before, self._digest_before = cells.frames[0].reshape(-1)[:COMPARED_WORDS].copy(), digest


class RejectAlarmsd(MapTransform):
    """Weighs what the checks before it found, all together; PlainImageError when anything speaks against the object.

    Parameters
    ----------
    threshold
        Smallest probability of an encrypted frame.
    """

    def __init__(self, keys: KeysCollection, *, threshold: float, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._threshold = threshold

    def __call__(self, data: Item) -> Item:
        alarms: list[Alarm] = []
        if data["sha256"] is not None and data["sha256"] != data["object_sha256"]:
            alarms.append(Alarm("digest", "the file is not the one that was written"))
        integrity = data["object_integrity"]
        if not integrity.passed:
            alarms.append(Alarm("integrity", "; ".join(integrity.problems) or "there is no record of its encryption"))
        cells, statistics = data["cells"], data["cells_statistics"]
        loud = [(i, found.alarms) for i, found in zip(cells.indices, statistics, strict=True) if found.alarms]
        alarms += [
            Alarm("statistics", f"frame {i}: {', '.join(ALARMS[name] for name in names)}") for i, names in loud[:_SHOWN]
        ]
        if len(loud) > _SHOWN:
            alarms.append(Alarm("statistics", f"and {len(loud) - _SHOWN} other frames"))
        alarms += [Alarm("statistics", text) for text in data["cells_streams"][:_SHOWN]]
        alarms += self._classified(data)
        if alarms:
            raise _AlarmError(tuple(alarms))
        return data

    def _classified(self, data: Item) -> list[Alarm]:
        cells = data["cells"]
        probabilities = data.get("cells_probability", ())
        plain = [
            (i, float(p))
            for i, p, frame in zip(cells.indices, probabilities, cells.frames, strict=False)
            if frame.size >= MINIMUM_WORDS and not p >= self._threshold  # NaN is no pass
        ]
        alarms = [Alarm("classifier", f"frame {i} looks plain, probability {p:.2g}") for i, p in plain[:_SHOWN]]
        if len(plain) > _SHOWN:
            alarms.append(Alarm("classifier", f"and {len(plain) - _SHOWN} other frames"))
        return alarms


class _AlarmError(PlainImageError):
    """What `RejectAlarmsd` found."""

    def __init__(self, alarms: tuple[Alarm, ...]) -> None:
        super().__init__("; ".join(map(str, alarms)))
        self.alarms = alarms


def _load(name: str) -> Transform:
    """A site's own check, from ``"package.module:Class"``."""
    module, _, attribute = name.partition(":")
    hint = f"checks.own: {name!r} must name a MONAI transform that is made without arguments, as package.module:Class"
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise ConfigurationError(f"own check {name!r} cannot be loaded: {type(error).__name__}", hint=hint) from error
    if not isinstance(made, Transform):
        raise ConfigurationError(f"own check {name!r} is a {type(made).__name__}, not a MONAI transform", hint=hint)
    return made
