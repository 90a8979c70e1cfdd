from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from monai_spine.bundle.on_demand import OnDemand

OPENED: list[int] = []


def slow_models(number: int) -> object:
    OPENED.append(number)
    time.sleep(0.05)
    return object()


def test_threads_that_come_at_once_share_one_model() -> None:
    models = OnDemand.of(f"{__name__}.slow_models", {"number": 1})
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: models(), range(4)))
    models.close()
    assert OPENED == [1]
    assert len(set(map(id, opened))) == 1
