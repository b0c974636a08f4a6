"""A storage server that keeps noise only: ten lines of pynetdicom and the handler."""

import sys

from pynetdicom import AE, AllStoragePresentationContexts, evt

from iomt_crypt.node.handler import StoreHandler

folder, recipient, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
handler = StoreHandler(folder, recipients=[recipient])
server = AE("NOISE")
server.supported_contexts = AllStoragePresentationContexts
server.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, handler)])
