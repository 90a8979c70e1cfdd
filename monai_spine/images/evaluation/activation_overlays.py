"""Writes where a classifier looked, a picture for each image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from monai_spine.files import write_png
from monai_spine.images.data.datalist import Record
from monai_spine.images.data.store import ImageStore
from monai_spine.images.evaluation.class_activation import activation_maps, overlay, shown
from monai_spine.images.evaluation.sheet import Tile, sheet
from monai_spine.images.training.classifier import ImageClassifier
from monai_spine.training.engine_output import indices_of


class ActivationOverlays:
    """Writes ``<image>.png`` for each image: as the network sees it, and with what speaks for its likeliest class.

    Parameters
    ----------
    output_dir
        The folder; within it, pictures lie as the images do under ``root``.
    records
        In the order in which the engine's batches count them.
    network
        The bare one.
    classes
        Their names.
    store
        Of the images, which knows those that could not be read: they get no picture.
    root
        Where the images come from.

    Raises
    ------
    InvalidOptionError
        If the backbone has no map to show.
    """

    def __init__(
        self,
        *,
        output_dir: str,
        records: Sequence[Record],
        network: ImageClassifier,
        classes: Sequence[str],
        store: ImageStore,
        root: str,
    ) -> None:
        self.output_dir, self.records, self.network, self.classes = Path(output_dir), records, network, tuple(classes)
        self.store = store
        self.root = Path(root).parent if Path(root).is_file() else Path(root)

    def attach(self, engine: Engine) -> None:
        """Write after each iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        output: Any = engine.state.output
        images, probabilities = output["image"], output["pred"]
        likeliest = torch.as_tensor(probabilities).argmax(dim=1)
        maps = activation_maps(self.network, images, likeliest).cpu().numpy()
        for row, n in enumerate(indices_of(engine)):
            files = tuple(self.records[n]["image"])
            if files in self.store.refused:
                continue
            image, chosen = images[row].float().cpu().numpy(), int(likeliest[row])
            said = f"{self.classes[chosen]} {float(probabilities[row, chosen]):.2f}"
            tile = Tile((shown(image), overlay(image, maps[row])), (said,))
            write_png(self.output_dir / self._name(n, files[0]), sheet([tile]))

    def _name(self, n: int, file: str) -> Path:
        """The place of the image below the root; for one from elsewhere its number and its name."""
        inside = Path(os.path.relpath(file, self.root))
        return Path(f"{n:06d}_{inside.name}.png") if ".." in inside.parts else inside.with_name(f"{inside.name}.png")
