"""``iomt-crypt decrypt``."""

from __future__ import annotations

from typing import Any

from iomt_crypt.cli.console import Input, Outputs, collect, run_inputs, stderr
from iomt_crypt.cli.option import (
    Headers,
    Identities,
    Json,
    Output,
    Overwrite,
    PassphraseFile,
    Resume,
    Sources,
    passphrase_source,
)


def decrypt(
    sources: Sources,
    identity: Identities,
    output: Output,
    headers: Headers = "merged",
    passphrase_file: PassphraseFile = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Decrypt files or folders into DIR: byte for byte what was encrypted.

    Nothing is written unless all of an object is authentic.
    """
    from iomt_crypt.dicom import decrypt_file
    from iomt_crypt.seal import Keyring, load_identities

    outputs = Outputs(output)
    keyring = Keyring(load_identities(identity, ask=lambda _: passphrase_source(passphrase_file)))

    def work(item: Input) -> dict[str, Any]:
        target = outputs.target(item)
        if resume and target.exists():
            outputs.made(item)
            return {"state": "skipped", "error": "done before", "output": str(target)}
        done = decrypt_file(
            item.path,
            target,
            identities=keyring,
            headers=headers,
            overwrite=overwrite,
        )
        outputs.made(item)
        if done.changed and not as_json:
            what = "corrections applied" if done.applied else "not applied"
            text = f"changed: {item.path}: {', '.join(done.changed)} ({what})"
            stderr.print(text, soft_wrap=True, markup=False)
        return {
            "state": "done",
            "output": str(target),
            "sop_instance_uid": done.sop_instance_uid,
            "suite": done.suite,
            "changed": list(done.changed),
            "corrections_applied": done.applied,
        }

    run_inputs(collect(sources), work, label="decrypting", as_json=as_json, verb="decrypted")
