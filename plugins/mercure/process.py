"""Processing module for mercure: a series or study in, the same as valid DICOM objects of noise out.

mercure starts a container for each task, with the files and ``task.json`` in MERCURE_IN_DIR; what is in MERCURE_OUT_DIR
when it ends with exit code 0 goes on to the target. So nothing is there before all of it is done, and whatever goes
wrong ends with another exit code: mercure then moves the task to its error folder and sends nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from iomt_crypt.archive.study import decrypt_study, encrypt_study
from iomt_crypt.dicom import Headers, Policy
from iomt_crypt.durable import appearing_file
from iomt_crypt.errors import ConfigurationError, IomtCryptError
from iomt_crypt.seal import fingerprint_text, load_identities, load_or_create_site_key, load_recipients

_HINT = "settings are documented in plugins/mercure/README.md"


@dataclass(frozen=True)
class Settings:
    """What ``settings`` of the module and the rule may say; the README has a line for each."""

    mode: Literal["encrypt", "decrypt"] = "encrypt"
    recipients: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    site_key: str = ""
    suite: str = "hybrid-1"
    uids: Literal["derive", "keep"] = "derive"
    headers: Headers = "merged"

    @classmethod
    def of_task(cls, task: Mapping[str, Any]) -> Settings:
        """Read and check what mercure wrote into ``task.json``.

        Raises
        ------
        ConfigurationError
            An option is unknown or wrong, or the rule would have mercure add the originals to the results.
        """
        process = task.get("process")
        if not isinstance(process, dict):
            raise ConfigurationError("task.json has no single processing step for this module", hint=_HINT)
        # Older versions of mercure wrote it as a text.
        if process.get("retain_input_images", False) not in (False, "False"):
            raise ConfigurationError(
                "the rule retains the input images: mercure would send the originals along",
                hint="switch 'retain input images' off in the rule",
            )
        given = process.get("settings") or {}
        if not isinstance(given, dict) or (unknown := sorted(set(given) - set(cls.__dataclass_fields__))):
            raise ConfigurationError(f"unknown settings: {', '.join(unknown)}", hint=_HINT)
        for name, value in given.items():
            wanted = list if name in ("recipients", "identities") else str
            if not isinstance(value, wanted) or (wanted is list and not all(isinstance(one, str) for one in value)):
                raise ConfigurationError(
                    f"setting {name}: {'a list of texts' if wanted is list else 'a text'} is needed"
                )
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in given.items()}
        made = cls(**values)
        made._check()
        return made

    def _check(self) -> None:
        if self.mode not in ("encrypt", "decrypt"):
            raise ConfigurationError("setting mode is neither encrypt nor decrypt", hint=_HINT)
        needed = "recipients" if self.mode == "encrypt" else "identities"
        if not getattr(self, needed):
            raise ConfigurationError(f"setting {needed} is missing", hint=_HINT)
        if self.mode == "encrypt" and self.uids == "derive" and not Path(self.site_key).is_file():
            # A key made here would be gone with the container, and each resend would get other UIDs.
            raise ConfigurationError(
                "setting site_key names no file in this container",
                hint="mount the site key with additional_volumes, or set uids to keep",
            )


def process(source: Path, target: Path) -> dict[str, Any]:
    """Do what ``task.json`` in ``source`` asks for; return what becomes ``result.json``.

    Raises
    ------
    IomtCryptError
        Nothing is in ``target`` then.
    """
    settings = Settings.of_task(_task(source / "task.json"))
    paths = sorted(path for path in source.iterdir() if path.name.endswith(".dcm"))
    if settings.mode == "decrypt":
        identities = load_identities(settings.identities)
        restored = decrypt_study(paths, target, identities=identities, headers=settings.headers)
        return {"mode": "decrypt", "objects": len(restored)}
    recipients = load_recipients(settings.recipients)
    site_key = load_or_create_site_key(Path(settings.site_key)) if settings.uids == "derive" else None
    policy = Policy(suite=settings.suite, uids=settings.uids, site_key=site_key)
    protected = encrypt_study(paths, target, recipients=recipients, policy=policy)
    return {
        "mode": "encrypt",
        "objects": len(protected),
        "suite": settings.suite,
        "recipients": [fingerprint_text(recipient.fingerprint) for recipient in recipients],
    }


def _task(path: Path) -> Mapping[str, Any]:
    try:
        task = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigurationError(f"{path} cannot be read as JSON", hint="mercure writes it beside the images") from None
    if not isinstance(task, dict):
        raise ConfigurationError(f"{path} is no task")
    return cast(Mapping[str, Any], task)


def main() -> int:
    """Entry point of the container: MERCURE_IN_DIR and MERCURE_OUT_DIR, or the two folders as arguments."""
    folders = sys.argv[1:] or [os.environ.get("MERCURE_IN_DIR", ""), os.environ.get("MERCURE_OUT_DIR", "")]
    if len(folders) != 2 or not all(folder and Path(folder).is_dir() for folder in folders):
        return _failed("MERCURE_IN_DIR and MERCURE_OUT_DIR must be folders", "mercure sets both")
    source, target = Path(folders[0]), Path(folders[1])
    before = set(target.iterdir())
    try:
        result = process(source, target)
        with appearing_file(target / "result.json", replace=True) as file:
            file.write(json.dumps(result).encode() + b"\n")
    except IomtCryptError as error:
        _take_back(target, before)
        return _failed(str(error), error.hint)
    except Exception as error:  # noqa: BLE001 - its words may quote a patient, and the log goes to mercure's database
        _take_back(target, before)
        return _failed(f"unexpected {type(error).__name__}", "nothing is in the output folder")
    print(f"{result['mode']}ed {result['objects']} objects")  # noqa: T201 - mercure keeps what a module prints
    return 0


def _take_back(target: Path, before: set[Path]) -> None:
    """Results whose result.json could not be written are none."""
    for path in set(target.iterdir()) - before:
        path.unlink(missing_ok=True)


def _failed(message: str, hint: str) -> int:
    print(f"error: {message}", f"hint: {hint}", sep="\n", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
