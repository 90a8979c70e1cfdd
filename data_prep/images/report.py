"""The report of an image set: ``report.json`` for machines, a few lines for people."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep.faults import Fault, Severity
from data_prep.images.codes import Code
from data_prep.images.copies import Copies, Leak
from data_prep.images.inspection import Inspection
from data_prep.images.sample import ImageSet, Sample, Section
from monai_spine import __version__
from monai_spine.errors import ExitCode, counted, listed

SCHEMA = "monai_spine/image-report/1"


@dataclass(frozen=True)
class ImageReport:
    """The result of an image set.

    Samples, names, inspections, folds and groups are those of all samples that were found, by their number.
    """

    image_set: ImageSet
    samples: Sequence[Sample]
    names: Sequence[str]
    inspections: Sequence[Inspection]
    copies: Copies
    leaks: Sequence[Leak]
    faults: Sequence[Fault]
    folds: npt.NDArray[np.intp]
    """-1 outside of training."""
    groups: npt.NDArray[np.intp]
    kept: Sequence[int]
    """Numbers of the samples in the datalist."""
    dropped: Sequence[int]
    """Numbers of those that ``--drop-leaks`` took out."""
    sources: dict[str, str]
    """Name of the DICOM file by the picture that was made of it."""
    root: str
    """The folder that names are relative to, as seen from the report."""

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if images could not be read, or do not exist."""
        refused = any(fault.code in {Code.UNREADABLE, Code.MISSING} for fault in self.faults)
        return ExitCode.SOME_REFUSED if refused else ExitCode.DONE

    def content(self) -> dict[str, Any]:
        """What ``report.json`` holds; all names are relative to ``root``."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "root": self.root,
            "task": self.image_set.task.value,
            "classes": list(self.image_set.classes),
            "channels": list(self.image_set.channels),
            "counts": self._counts(),
            "class_counts": {name: self._class_counts(n) for n, name in enumerate(self.image_set.classes)},
            "sizes": self._sizes(),
            "findings": [_finding(fault) for fault in self.faults],
            "leaks": [
                {
                    "training": self.names[leak.training],
                    "test": self.names[leak.test],
                    "copy": "exact" if leak.similarity == 1.0 else "near",
                    "similarity": leak.similarity,
                }
                for leak in self.leaks
            ],
            "copies": [[self.names[n] for n in same] for same in self.copies.exact],
            "near_copies": [
                {"images": [self.names[a], self.names[b]], "similarity": similarity}
                for a, b, similarity in self.copies.near
            ],
            "dropped": [self.names[n] for n in self.dropped],
            "converted": self.sources,
        }

    def summary(self, datalist: Path, report: Path) -> str:
        """For people: a line for every code, the worst first, what is in the datalist, and where it is."""
        rows = []
        for code in dict.fromkeys(fault.code for fault in self.faults):
            some = [fault for fault in self.faults if fault.code is code]
            first = some[0].images[0] if some[0].images else some[0].detail
            rows.append(f"{code.severity.value:<8}{len(some):>6}  {code.name:<20} {code.explanation.title}: {first}")
        counts = self._counts()
        per_class = [f"{name} {self._class_counts(n)['all']:,}" for n, name in enumerate(self.image_set.classes)]
        folds = len(set(self.folds[list(self.kept)].tolist()) - {-1})
        split = f"{counts['training']:,} in {counted(folds, 'fold')} to train on, {counts['test']:,} to test on"
        rows.append(f"{counted(len(self.kept), 'image')}, {self.image_set.task.value}: {listed(per_class, shown=20)}")
        rows.append(f"{split}; {counted(counts['groups'], 'group')} of images that stay together")
        if self.dropped:
            rows.append(f"{counted(len(self.dropped), 'image')} dropped from training, also in the test")
        elif self.leaks:
            leaking = len({leak.training for leak in self.leaks})
            rows.append(f"{leaking:,} training images are copies of test images: --drop-leaks takes them out")
        return "\n".join([*rows, f"Wrote {datalist} and {report}"])

    def _counts(self) -> dict[str, int]:
        kept = [self.samples[n] for n in self.kept]
        tested = sum(sample.section is Section.TEST for sample in kept)
        severities = Counter(fault.code.severity for fault in self.faults)
        return {
            "found": len(self.samples),
            "unreadable": sum(bool(one.fault) for one in self.inspections),
            "missing": len(self.image_set.missing),
            "dropped": len(self.dropped),
            "images": len(kept),
            "training": len(kept) - tested,
            "test": tested,
            "groups": len(set(self.groups[list(self.kept)].tolist())),
            "colour": sum(self.inspections[n].colour for n in self.kept),
            **{severity.value: severities[severity] for severity in Severity},
        }

    def _class_counts(self, number: int) -> dict[str, int]:
        members = [n for n in self.kept if self.samples[n].is_of(number)]
        folds = Counter(int(self.folds[n]) for n in members)
        spread = {f"fold_{fold}": folds[fold] for fold in sorted(folds) if fold >= 0}
        return {"all": len(members), **spread, "test": folds[-1]}

    def _sizes(self) -> dict[str, dict[str, float]]:
        """Spread of rows and columns in pixels."""
        kept = [self.inspections[n] for n in self.kept]
        sizes = {"rows": [one.rows for one in kept], "columns": [one.columns for one in kept]}
        return {
            name: {"minimum": min(values), "median": float(np.median(values)), "maximum": max(values)}
            for name, values in sizes.items()
        }


def _finding(fault: Fault) -> dict[str, Any]:
    return {
        "severity": fault.code.severity.value,
        "code": fault.code.name,
        "images": list(fault.images),
        "found": fault.detail,
        "advice": fault.code.explanation.advice,
    }
