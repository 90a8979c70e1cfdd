"""New studies of a DICOMweb server: searched for with QIDO-RS, fetched with WADO-RS once they stay the same."""

from __future__ import annotations

import datetime
import hashlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai_spine.service.archive import web_client
from monai_spine.service.configuration import WebSource
from monai_spine.service.study_queue import StudyQueue

logger = logging.getLogger(__name__)

_PAGE = 100
"""Studies of one answer."""
_STUDY, _SERIES, _SERIES_IMAGES = "0020000D", "0020000E", "00201209"
_MR = "MR"

Keep = Callable[[str, list[Path]], bool]


class WebPoller:
    """Asks a server again and again.

    Parameters
    ----------
    quiet_seconds
        How long a study must have stayed the same.
    keep
        Takes the files of a study; False if there is no room for them now.
    temporary
        A private folder.
    """

    def __init__(self, source: WebSource, queue: StudyQueue, keep: Keep, temporary: Path, quiet_seconds: float) -> None:
        self._source, self._queue, self._keep = source, queue, keep
        self._temporary, self._quiet_seconds = temporary, quiet_seconds
        self._client = web_client(source)

    def run(self, stop: threading.Event) -> None:
        """Ask until it is stopped. A server that is down is asked again at the next time."""
        while not stop.is_set():
            try:
                self.poll(stop)
            except Exception as error:  # of a server of any make, and of the network
                logger.warning("the DICOMweb server cannot be asked for studies (%s)", type(error).__name__)
            stop.wait(self._source.every_seconds)

    def poll(self, stop: threading.Event) -> None:
        """Ask once, and fetch what is complete."""
        for study in self._studies():
            if stop.is_set():
                return
            series = self._series(study)
            # Our own objects are no MR, so that they do not change this.
            content = hashlib.sha256(repr(sorted(series.items())).encode()).hexdigest()
            now = time.time()
            since = self._queue.unchanged_since(study, content, now)
            if series and since is not None and now - since >= self._quiet_seconds:
                self._fetch(study, list(series))

    def _studies(self) -> list[str]:
        first = datetime.date.today() - datetime.timedelta(days=self._source.days - 1)
        filters = {"ModalitiesInStudy": _MR, "StudyDate": f"{first:%Y%m%d}-", **self._source.filters}
        uids: list[str] = []
        while True:
            page = self._client.search_for_studies(limit=_PAGE, offset=len(uids), search_filters=filters)
            new = [uid for uid in (_value(one, _STUDY) for one in page) if uid not in uids]
            uids += [str(uid) for uid in new]
            if len(page) < _PAGE or not new:  # some servers know no offset
                return uids

    def _series(self, study: str) -> dict[str, int]:
        """The number of images of each MR series."""
        series = self._client.search_for_series(
            study, fields=["NumberOfSeriesRelatedInstances"], search_filters={"Modality": _MR}
        )
        return {str(_value(one, _SERIES)): int(_value(one, _SERIES_IMAGES) or 0) for one in series}

    def _fetch(self, study: str, series: list[str]) -> None:
        """Fetch all series, then hand them over: a study of which a part arrived would be graded by that part."""
        folder = Path(tempfile.mkdtemp(dir=self._temporary))
        try:
            files: list[Path] = []
            for uid in series:
                for dataset in self._client.iter_series(study, uid, media_types=(("application/dicom", "*"),)):
                    files.append(folder / f"{len(files)}.dcm")
                    dataset.save_as(files[-1], enforce_file_format=True)
            if self._keep(study, files):
                self._queue.fetched(study)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _value(answer: dict[str, Any], tag: str) -> Any:
    values = answer.get(tag, {}).get("Value") or [None]
    return values[0]
