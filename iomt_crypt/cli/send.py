"""``iomt-crypt send``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iomt_crypt.cli.console import Input, collect, print_note, run_inputs
from iomt_crypt.cli.option import Json, Sources


def send(
    sources: Sources,
    to: Annotated[str, typer.Option("--to", metavar="AET@HOST:PORT", help="Where to send.")],
    aet: Annotated[str, typer.Option(help="Own AE title.")] = "IOMTCRYPT",
    as_json: Json = False,
) -> None:
    """Send files or folders by C-STORE, each as it is: its own bytes, its own transfer syntax."""
    from iomt_crypt.node.peer import Peer
    from iomt_crypt.node.sender import Sender
    from iomt_crypt.node.transport import configure_pynetdicom

    peer = Peer.parse(to)
    inputs = collect(sources)
    configure_pynetdicom()
    sender = Sender([item.path for item in inputs], peer, calling_ae_title=aet)

    def work(item: Input) -> dict[str, Any]:
        sent = sender.send(item.path)
        if sent.warning and not as_json:
            print_note(f"warning: {item.path}: {peer} answered {sent.warning}")
        return {
            "state": "done",
            "sop_class_uid": sent.sop_class_uid,
            "sop_instance_uid": sent.sop_instance_uid,
            "transfer_syntax_uid": sent.transfer_syntax_uid,
            "warning": sent.warning,
        }

    try:
        run_inputs(inputs, work, label="sending", as_json=as_json, verb="sent")
    finally:
        sender.close()
