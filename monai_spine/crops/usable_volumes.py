"""Studies without the volumes that nothing can be read from, so that one of them does not end a run over many."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from monai_spine.crops.stack import open_stack
from monai_spine.data.datalist import Record
from monai_spine.errors import SpineError
from monai_spine.spine import SeriesType

logger = logging.getLogger(__name__)


def with_usable_volumes(records: Sequence[Record]) -> list[Record]:
    """The same studies, all of them, without volumes that are damaged, hold NaN, or one grey value; each is warned of.

    A study that has none left stays: all of its findings are not covered then, and say so.
    """
    return [{**record, **{kind.value: _usable(record, kind) for kind in SeriesType}} for record in records]


def _usable(record: Record, kind: SeriesType) -> list[str]:
    files = []
    for file in record[kind.value]:
        try:
            open_stack(file)
        except SpineError as error:
            logger.warning("study %s: a volume is left out: %s", record["study_id"], error)
        else:
            files.append(file)
    return files
