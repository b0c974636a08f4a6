"""Operators for the MONAI Deploy App SDK: a study is decrypted before the first of them, its results encrypted after.

Thin: what they do is `iomt_crypt.archive.study`, which knows no host. An exception in ``compute`` ends the application
with a failure, and nothing of the study is in the output folder then.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from iomt_crypt.archive.study import decrypt_study, encrypt_study
from iomt_crypt.dicom import Headers, Policy
from iomt_crypt.errors import ConfigurationError, InputError
from iomt_crypt.seal import DEFAULT_SUITE, load_identities, load_or_create_site_key, load_recipients

try:
    from monai.deploy.core import ConditionType, Fragment, Operator, OperatorSpec
except ImportError as error:  # the SDK, or the Holoscan libraries that it loads
    raise ConfigurationError(
        f"the MONAI Deploy App SDK cannot be loaded: {error}",
        hint="pip install monai-deploy-app-sdk==4.0.0; it needs Linux on x86-64 or aarch64 with glibc 2.35",
    ) from error


class _StudyOperator(Operator):  # type: ignore[misc]  # the SDK has no types
    """A folder in, a folder out.

    Input ``folder``: path of the folder to work on; there is no such port when ``input_folder`` was given. Output
    ``folder``: path of the folder that has the results.
    """

    def __init__(self, fragment: Fragment, *args: Any, input_folder: str | Path | None, **kwargs: Any) -> None:
        self.input_folder = Path(input_folder) if input_folder is not None else None
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        if self.input_folder is None:  # an optional port would not wait for what is before it
            spec.input("folder")
        spec.output("folder").condition(ConditionType.NONE)

    def study(self, op_input: Any) -> list[Path]:
        """The files to work on: all below the folder, in a stable order."""
        folder = self.input_folder or Path(op_input.receive("folder"))
        if not folder.is_dir():
            raise InputError("the input folder is not there")
        # A DICOMDIR is a table of contents (PS3.10 8.6): the SDK passes it by too.
        return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR")


class EncryptStudyOperator(_StudyOperator):
    """All of a study as valid DICOM objects of noise, each opened again and compared; or nothing.

    Parameters
    ----------
    output_folder
        where the results go; made when missing
    recipients
        recipient texts, or files of them
    site_key
        file of the key that derives UIDs, made when missing; not needed with ``uids="keep"``
    input_folder
        for the first operator of an application: the folder to work on
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        output_folder: str | Path,
        recipients: Sequence[str | Path],
        site_key: str | Path | None = None,
        suite: str = DEFAULT_SUITE,
        uids: Literal["derive", "keep"] = "derive",
        input_folder: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        self.output_folder = Path(output_folder)
        # Wrong keys are found when the application is composed, and not after an hour of inference.
        self.recipients = load_recipients([str(value) for value in recipients])
        key = load_or_create_site_key(Path(site_key)) if site_key is not None else None
        if uids == "derive" and key is None:
            raise ConfigurationError("site_key is missing", hint="name its file, or set uids to keep")
        self.policy = Policy(suite=suite, uids=uids, site_key=key)
        super().__init__(fragment, *args, input_folder=input_folder, **kwargs)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        self.output_folder.mkdir(parents=True, exist_ok=True)
        encrypt_study(self.study(op_input), self.output_folder, recipients=self.recipients, policy=self.policy)
        op_output.emit(self.output_folder, "folder")


class DecryptStudyOperator(_StudyOperator):
    """All of an encrypted study in clear, byte for byte as it was; or nothing.

    Parameters
    ----------
    identities
        identity files, mode 0600
    output_folder
        None: a folder in memory (``/dev/shm``), mode 0700, that is removed when the operator stops
    headers
        as of `iomt_crypt.decrypt_file`
    input_folder
        for the first operator of an application: the folder to work on
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        identities: Sequence[str | Path],
        output_folder: str | Path | None = None,
        headers: Headers = "merged",
        input_folder: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        self.identities = load_identities([str(value) for value in identities])
        self.headers: Headers = headers
        self.output_folder = Path(output_folder) if output_folder is not None else None
        self._own: Path | None = None
        super().__init__(fragment, *args, input_folder=input_folder, **kwargs)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        target = self.output_folder or self._memory()
        target.mkdir(parents=True, exist_ok=True)
        decrypt_study(self.study(op_input), target, identities=self.identities, headers=self.headers)
        op_output.emit(target, "folder")

    def stop(self) -> None:
        """Of the SDK: the application has ended, well or not."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._own = None

    def _memory(self) -> Path:
        if self._own is None:
            memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own there
            if not memory.is_dir():
                raise ConfigurationError("there is no /dev/shm to decrypt into", hint="give output_folder")
            self._own = Path(tempfile.mkdtemp(prefix="iomt-crypt-", dir=memory))
        return self._own
