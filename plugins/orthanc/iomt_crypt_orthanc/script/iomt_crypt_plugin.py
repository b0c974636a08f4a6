"""Glue between Orthanc and iomt-crypt: the only file that imports ``orthanc``. Name it in "PythonScript".

An error while this file is loaded keeps Orthanc from starting.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any

import orthanc  # type: ignore[import-not-found] # Orthanc's own, made by its Python plug-in

# Behind Orthanc's own places. What is imported from there is ours, and pure Python.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from iomt_crypt_orthanc import alarm
from iomt_crypt_orthanc.option import Options, read_options
from iomt_crypt_orthanc.pool import Pool
from iomt_crypt_orthanc.preview import to_grey8
from iomt_crypt_orthanc.reception import Action, Reception
from iomt_crypt_orthanc.release import Denied, Plain, Release

_ACTION = orthanc.ReceivedInstanceAction
# Orthanc takes an empty modified instance as a failure of the plug-in: 0xA700 to a C-STORE, HTTP 500 to a POST. It is
# made before anything can go wrong.
_REFUSE = (_ACTION.MODIFY, b"")
_KEEP = (_ACTION.KEEP_AS_IS, b"")
_DISCARD = (_ACTION.DISCARD, b"")
_REALM = "Orthanc Secure Area"  # the same as Orthanc's own, so that a browser asks once
_METRICS_S = 10.0
# Formats that are windowed to 8 bits, with their type codes in `array`.
_DEEP = {
    orthanc.PixelFormat.GRAYSCALE16: "H",
    orthanc.PixelFormat.SIGNED_GRAYSCALE16: "h",
    orthanc.PixelFormat.GRAYSCALE32: "I",
    orthanc.PixelFormat.FLOAT32: "f",
}

Route = Callable[[Any, dict[str, Any]], None]


def _warn(line: str) -> None:
    orthanc.LogError(f"iomt-crypt: {line}")


class Plugin:
    """Everything that Orthanc calls."""

    def __init__(self, configuration: dict[str, Any], options: Options) -> None:
        self._folder = Path(options.folder)
        common = {"folder": options.folder, "headers": options.headers}
        protect = common | {
            "role": "protect",
            "recipients": options.recipients,
            "site_key": options.site_key,
            "suite": options.suite,
            "uids": options.uids,
            "epoch_objects": options.epoch_objects,
            "epoch_hours": options.epoch_hours,
            "on_failure": options.on_failure,
        }
        timeout_s = float(options.timeout_seconds)
        self._pool = Pool(options.python, protect, n=options.workers, timeout_s=timeout_s, warn=_warn)
        self._reader: Pool | None = None
        if options.identities:
            release = common | {"role": "release", "identities": options.identities}
            self._reader = Pool(options.python, release, n=1, timeout_s=timeout_s, warn=_warn)
        self.reception = Reception(self._pool, warn=_warn)
        self._release = Release(
            self._reader,
            users=options.users,
            passwords=configuration.get("RegisteredUsers", {}),
            audit=lambda line: orthanc.LogWarning(f"iomt-crypt: {line}"),
            archive_bytes=options.archive_bytes,
        )
        self._stopped = threading.Event()

    def received(self, data: bytes, origin: int) -> tuple[int, bytes]:
        """Orthanc's ReceivedInstanceCallback: always two values, the second real bytes; no REST call."""
        del origin
        action, content = self.reception.received(data)
        if action is Action.STORE:
            return (_ACTION.MODIFY, content)
        return {Action.KEEP: _KEEP, Action.DISCARD: _DISCARD}.get(action, _REFUSE)

    def filter_c_store(self, instance: Any) -> int:
        """Orthanc's IncomingCStoreInstanceFilter, called for what it is about to store."""
        return self.reception.approve_c_store(instance.GetInstanceSize())

    def stored(self, instance: Any, identifier: str) -> None:
        """Orthanc's OnStoredInstanceCallback: nothing may be here that was not approved."""
        if self.reception.approve_stored(instance.GetInstanceSize(), instance.GetInstanceData):
            return
        kept = False
        try:
            kept = self.reception.set_aside(instance.GetInstanceData(), "stored without approval")
        finally:
            orthanc.RestApiDelete(f"/instances/{identifier}")
            _warn(f"ALARM: an instance was stored without approval and deleted; in quarantine: {kept}")

    def changed(self, change: int, level: int, resource: str) -> None:
        """Orthanc's OnChangeCallback."""
        del level, resource
        if change == orthanc.ChangeType.ORTHANC_STARTED:
            # A daemon: Orthanc does not wait for it, and it ends when it is told.
            threading.Thread(target=self._publish, name="iomt-crypt metrics", daemon=True).start()
        elif change == orthanc.ChangeType.ORTHANC_STOPPED:
            self._stopped.set()
            self._pool.close()
            if self._reader is not None:
                self._reader.close()

    def _publish(self) -> None:
        while True:
            try:
                n_quarantined = alarm.update(self._folder)
            except OSError as error:
                _warn(f"ALARM: the quarantine cannot be looked into: {error.strerror}")
                n_quarantined = -1
            orthanc.SetMetricsValue("iomt_crypt_quarantine", float(n_quarantined), orthanc.MetricsType.DEFAULT)
            orthanc.SetMetricsValue("iomt_crypt_workers", float(self._pool.n_running), orthanc.MetricsType.DEFAULT)
            for action in (*(each.value for each in Action), "stopped"):
                value = float(self.reception.counts[action])
                orthanc.SetMetricsValue(f"iomt_crypt_{action}_total", value, orthanc.MetricsType.DEFAULT)
            if self._stopped.wait(_METRICS_S):
                return

    def status(self, output: Any, request: dict[str, Any]) -> None:
        """GET /iomt-crypt/status: counts, recipients, what is wrong; nothing of a patient."""
        facts = {
            "quarantine": alarm.count(self._folder / "quarantine"),
            "workers": self._pool.n_running,
            "recipients": self._pool.facts.get("recipients", []),
            "problem": self.reception.problem,
            "may_decrypt": self._release.may(request["headers"]),
            **{action.value: self.reception.counts[action.value] for action in Action},
            "stopped": self.reception.counts["stopped"],
        }
        output.AnswerBuffer(json.dumps(facts, indent=1) + "\n", "application/json")

    def file(self, output: Any, request: dict[str, Any]) -> None:
        """GET /iomt-crypt/instances/{id}/file"""
        plain = self._instance(request, "file")
        output.SetHttpHeader("Content-Disposition", f'attachment; filename="{request["groups"][0]}.dcm"')
        output.AnswerBuffer(plain.data, "application/dicom")

    def preview(self, output: Any, request: dict[str, Any]) -> None:
        """GET /iomt-crypt/instances/{id}/preview: the first frame as PNG."""
        plain = self._instance(request, "preview")
        try:
            image = orthanc.CreateDicomInstance(plain.data).GetInstanceDecodedFrame(0)
        except orthanc.OrthancException:
            raise Denied(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Orthanc cannot show it") from None
        width, height, pitch = image.GetImageWidth(), image.GetImageHeight(), image.GetImagePitch()
        samples, kind = image.GetImageBuffer(), image.GetImagePixelFormat()
        if kind in _DEEP:
            samples = to_grey8(samples, width=width, height=height, pitch=pitch, kind=_DEEP[kind])
            kind, pitch = orthanc.PixelFormat.GRAYSCALE8, width
        if kind not in (orthanc.PixelFormat.GRAYSCALE8, orthanc.PixelFormat.RGB24):
            raise Denied(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no preview of this kind of pixels")
        output.CompressAndAnswerPngImage(kind, width, height, pitch, samples)

    def archive(self, output: Any, request: dict[str, Any]) -> None:
        """GET /iomt-crypt/{series,studies,patients}/{id}/archive: a ZIP of the originals."""
        level, identifier = request["groups"]
        self._release.authorise(request["headers"], action="archive", target=f"{level}/{identifier}")
        listed = self._list(f"/{level}/{identifier}/instances")
        content = self._release.archive(orthanc.GetDicomForInstance(each) for each in listed)
        output.SetHttpHeader("Content-Disposition", f'attachment; filename="{identifier}.zip"')
        output.AnswerBuffer(content, "application/zip")

    def dicom_web(self, output: Any, request: dict[str, Any]) -> None:
        """GET /iomt-crypt/dicom-web/studies/{uid}[/series/{uid}[/instances/{uid}]] (PS3.18 10.4, instances only)."""
        uids = [uid for uid in request["groups"] if uid]
        self._release.authorise(request["headers"], action="dicom-web", target="/".join(uids))
        look_up = (orthanc.LookupStudy, orthanc.LookupSeries, orthanc.LookupInstance)[len(uids) - 1]
        try:
            identifier = look_up(uids[-1])
        except orthanc.OrthancException:  # "internal error" for a UID that is not there
            raise Denied(HTTPStatus.NOT_FOUND, "no such resource") from None
        level = ("studies", "series", "instances")[len(uids) - 1]
        listed = [identifier] if level == "instances" else self._list(f"/{level}/{identifier}/instances")
        files = (self._release.decrypt(orthanc.GetDicomForInstance(each)).data for each in listed)
        first = next(files)  # what fails here still has a status; later on the answer just ends
        output.StartMultipartAnswer("related", "application/dicom")
        for data in chain([first], files):
            output.SendMultipartItem(data)

    def _instance(self, request: dict[str, Any], action: str) -> Plain:
        identifier = request["groups"][0]
        self._release.authorise(request["headers"], action=action, target=f"instances/{identifier}")
        try:
            stored = orthanc.GetDicomForInstance(identifier)
        except orthanc.OrthancException:
            raise Denied(HTTPStatus.NOT_FOUND, "no such instance") from None
        return self._release.decrypt(stored)

    def _list(self, path: str) -> list[str]:
        try:
            return sorted(each["ID"] for each in json.loads(orthanc.RestApiGet(path)))
        except orthanc.OrthancException:
            raise Denied(HTTPStatus.NOT_FOUND, "no such resource") from None


def _guarded(route: Route) -> Callable[..., None]:
    """The route for GET only; what goes wrong is an HTTP status, and never holds a patient's value."""

    def call(output: Any, uri: str, **request: Any) -> None:
        del uri
        if request["method"] != "GET":
            output.SendMethodNotAllowed("GET")
            return
        try:
            route(output, request)
        except Denied as error:
            text = json.dumps({"error": str(error)}) + "\n"
            if error.status is HTTPStatus.UNAUTHORIZED:
                output.SendUnauthorized(_REALM)
            else:
                output.SendHttpStatus(error.status.value, text, len(text))
        except Exception as error:  # noqa: BLE001 - Orthanc would log its message, which may quote a value
            _warn(f"a request failed: unexpected {type(error).__name__}")
            output.SendHttpStatusCode(HTTPStatus.INTERNAL_SERVER_ERROR.value)

    return call


def _register() -> None:
    configuration = json.loads(orthanc.GetConfiguration())
    place = Path(orthanc.GetConfigurationPath())
    options = read_options(configuration, base=place if place.is_dir() else place.parent)
    plugin = Plugin(configuration, options)
    orthanc.RegisterReceivedInstanceCallback(plugin.received)
    orthanc.RegisterIncomingCStoreInstanceFilter(plugin.filter_c_store)
    orthanc.RegisterOnStoredInstanceCallback(plugin.stored)
    orthanc.RegisterOnChangeCallback(plugin.changed)
    uid = "/([0-9.]+)"
    for path, route in {
        "/iomt-crypt/status": plugin.status,
        "/iomt-crypt/instances/([0-9a-f-]+)/file": plugin.file,
        "/iomt-crypt/instances/([0-9a-f-]+)/preview": plugin.preview,
        "/iomt-crypt/(series|studies|patients)/([0-9a-f-]+)/archive": plugin.archive,
        f"/iomt-crypt/dicom-web/studies{uid}": plugin.dicom_web,
        f"/iomt-crypt/dicom-web/studies{uid}/series{uid}": plugin.dicom_web,
        f"/iomt-crypt/dicom-web/studies{uid}/series{uid}/instances{uid}": plugin.dicom_web,
    }.items():
        orthanc.RegisterRestCallback(path, _guarded(route))
    orthanc.ExtendOrthancExplorer((Path(__file__).parent / "explorer.js").read_text(encoding="utf-8"))
    orthanc.LogWarning(f"iomt-crypt: everything received is encrypted to {', '.join(plugin._pool.facts['recipients'])}")


_register()
