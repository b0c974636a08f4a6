"""``iomt-crypt encrypt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from iomt_crypt.cli.console import Input, Outputs, collect, run_inputs
from iomt_crypt.cli.option import Json, Output, Overwrite, Recipients, Resume, Sources, one_of


def encrypt(
    sources: Sources,
    recipient: Recipients,
    output: Output,
    suite: Annotated[str, typer.Option(help="hybrid-1, or chaos-cnn-1 (research: no standard cipher).")] = "hybrid-1",
    uids: Annotated[str, typer.Option(help="derive: new SOP Instance and Series UIDs; keep: all stay.")] = "derive",
    site_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Key of the derived UIDs; made if missing. Default: the user's own."),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Encrypt files or folders of DICOM objects into DIR.

    The results are valid DICOM objects whose pixels are noise. Folders keep their structure. A failed input leaves no
    output.
    """
    from iomt_crypt.dicom import Policy, encrypt_file, with_site_key
    from iomt_crypt.seal import SUITES, Epoch, load_or_create_site_key, load_recipients

    one_of("--suite", suite, SUITES)
    one_of("--uids", uids, ("derive", "keep"))
    key = load_or_create_site_key(site_key) if site_key is not None and uids == "derive" else None
    policy = with_site_key(Policy(suite=suite, uids=uids, site_key=key))  # type: ignore[arg-type]
    epoch = Epoch.create(load_recipients(recipient))
    outputs = Outputs(output)

    def work(item: Input) -> dict[str, Any]:
        target = outputs.target(item)
        if resume and target.exists():
            outputs.made(item)
            return {"state": "skipped", "error": "done before", "output": str(target)}
        done = encrypt_file(item.path, target, recipients=epoch, policy=policy, overwrite=overwrite)
        outputs.made(item)
        return {
            "state": "done",
            "output": str(target),
            "sop_instance_uid": done.sop_instance_uid,
            "form": done.form,
            "suite": done.suite,
            "size_bytes": done.size_bytes,
        }

    run_inputs(collect(sources), work, label="encrypting", as_json=as_json, verb="encrypted")
