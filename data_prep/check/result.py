"""The result of a check, for people in a few lines and for machines as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.check.entries import Study
from data_prep.check.volume_facts import VolumeFacts
from data_prep.faults import Fault, FaultCode, Severity, counted
from monai_spine import __version__
from monai_spine.errors import ExitCode, listed

SCHEMA = "monai_spine/check/1"


@dataclass(frozen=True)
class CheckedData:
    """What is known of a data set: its studies and volumes, what is wrong with them, and its fingerprint."""

    name: str
    studies: Sequence[Study]
    facts: Sequence[VolumeFacts]
    faults: Sequence[Fault]
    fingerprint: Mapping[str, Any]

    @property
    def counts(self) -> Counter[Severity]:
        """How many faults there are of each severity."""
        return Counter(fault.code.severity for fault in self.faults)

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if there are errors: studies with errors should not be trained on."""
        return ExitCode.SOME_REFUSED if self.counts[Severity.ERROR] else ExitCode.DONE

    def summary(self, report: Path) -> str:
        """For people: a line for every code, the worst first, the verdict, and where the report is."""
        by_code: dict[FaultCode, list[Fault]] = {}
        for fault in self.faults:
            by_code.setdefault(fault.code, []).append(fault)
        rows = [
            f"{code.severity.value:<8}{len(faults):>5}  {code.name:<25} "
            f"{listed(list(dict.fromkeys(fault.study or '-' for fault in faults)), shown=3)}"
            for code, faults in by_code.items()
        ]
        patients = counted(self.fingerprint["patients"], "patient")
        of = f"{counted(len(self.studies), 'study')} of {patients}, {counted(len(self.facts), 'volume')} read"
        return "\n".join([*rows, f"{of}. {verdict(self.counts)[0]}", f"See {report}"])

    def content(self) -> dict[str, Any]:
        """What ``check.json`` holds."""
        counts, names = self.counts, {study.number: study.study_id for study in self.studies}
        return {
            "schema": SCHEMA,
            "version": __version__,
            "datalist": self.name,
            "counts": {severity.value: counts[severity] for severity in Severity},
            "findings": [_finding(fault, names) for fault in self.faults],
            "fingerprint": self.fingerprint,
            "volumes": [_volume(one, names) for one in self.facts],
        }

    def as_json(self) -> str:
        """`content` as text, for the file and for stdout."""
        return as_json(self.content())


def as_json(content: Any) -> str:
    """JSON for files and for stdout."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def verdict(counts: Mapping[Severity, int]) -> tuple[str, str]:
    """The verdict on the counts in words, and its tone (``error``, ``warning`` or ``good``)."""
    errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
    if errors:
        return f"{counted(errors, 'error')}: mend the data before a model is trained on them", "error"
    if warnings:
        return f"No errors, {counted(warnings, 'warning')} to look at", "warning"
    return "No errors, no warnings", "good"


def _finding(fault: Fault, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "severity": fault.code.severity.value,
        "code": fault.code.name,
        "section": fault.section,
        "study": fault.study,
        "series": fault.series,
        "path": fault.path,
        "targets": list(fault.targets),
        "others": [names[number] for number in fault.others],
        "found": fault.detail,
        "advice": fault.code.explanation.advice,
    }


def _volume(facts: VolumeFacts, names: Mapping[int, str]) -> dict[str, Any]:
    rounded = {name: float(f"{value:.6g}") for name, value in facts.features.items()}
    study = names[facts.number]
    return {
        "study": study,
        "series": facts.series_type.value,
        "path": facts.path,
        "plane": facts.plane.value,
        **rounded,
    }
