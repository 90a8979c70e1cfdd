"""Processor time of the DICOM objects and the page of a study, beside what grading it takes; sizes.

    python benchmarks/dicom_out.py --studies 2 --size full
    python benchmarks/dicom_out.py --cohort cohort/ --profile       # what takes the time
    python benchmarks/dicom_out.py --measures --readers --page      # with everything that there may be

The first study pays for imports and fonts once a process; it is a row of its own. ``--readers``: each study has the
grades of two readers, of five findings each.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from data_prep.choices import PhantomSize
from data_prep.phantom.cohort import generate
from monai_spine.data.corrections import Corrections, Signature
from monai_spine.data.corrections_file import write_corrections
from monai_spine.dicom_out.outputs import study_outputs
from monai_spine.files import safe_name
from monai_spine.prediction.inputs import Conversion, find_inputs
from monai_spine.prediction.models import open_models
from monai_spine.prediction.run import predict
from monai_spine.prediction.study_output import GradedStudy
from monai_spine.report.output import PageOutput
from monai_spine.spine import TARGETS


class Timed(PageOutput):
    """Notes the processor seconds, and the bytes, of each study's files."""

    def write(self, study: GradedStudy) -> Mapping[str, str]:
        begin = time.process_time()
        failed = super().write(study)
        (name,) = (writer.name for writer in self.writers)
        seconds[name].append(time.process_time() - begin)
        written = study.folder / name
        sizes[name].append(sum(file.stat().st_size for file in [written, *written.glob("*")] if file.is_file()))
        if profile is not None:
            profile.enable()
            super().write(study)
            profile.disable()
        return failed


seconds: dict[str, list[float]] = defaultdict(list)
sizes: dict[str, list[int]] = defaultdict(list)
profile: cProfile.Profile | None = None


def graded_by_two(study: str) -> Corrections:
    """The grades of two readers, each of five findings."""
    corrections = Corrections(study)
    for n, finding in enumerate(TARGETS[:10]):
        corrections = corrections.graded(finding, "moderate", Signature.now(("AB", "CD")[n % 2]))
    return corrections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=3)
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--cohort", type=Path, help="phantoms that are there already")
    parser.add_argument("--measures", action="store_true", help="measure canal and discs, too")
    parser.add_argument("--readers", action="store_true", help="two readers graded each study")
    parser.add_argument("--page", action="store_true", help="report.html, too")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        global profile  # noqa: PLW0603 - a script
        profile = cProfile.Profile(time.process_time)  # other work of the machine does not count
    with tempfile.TemporaryDirectory(prefix="dicom-out-") as folder:
        cohort = options.cohort or Path(folder) / "cohort"
        if options.cohort is None:
            generate(cohort, options.studies, 32, size=PhantomSize(options.size), workers=1, quiet=True)
        with redirect_stderr(StringIO()):
            models = open_models(measures=options.measures)
        inputs = find_inputs([cohort / "train_images"], Path(folder) / "out", Conversion("uid", quiet=True))
        if options.readers:
            for study in inputs.studies:
                write_corrections(Path(folder) / "out" / safe_name(study.study_id), graded_by_two(study.study_id))
        (output,) = study_outputs(report=options.page, pdf=False, dicom_out=True)
        begin = time.process_time()
        timed = [Timed([writer]) for writer in output.writers]
        predict(inputs, Path(folder) / "out", models, quiet=True, outputs=timed)
        everything = time.process_time() - begin
    extra = [", with measures"] * options.measures + [", with grades of two readers"] * options.readers
    studies = len(inputs.studies)
    print(f"| processor seconds, {studies} studies{''.join(extra)} | s | MB |\n|---|--:|--:|")
    for name, (first, *others) in seconds.items():
        mb = f"{max(sizes[name]) / 1e6:.2f}"
        print(f"| {name}: the first study | {first:.2f} | |")
        print(f"| {name}: a further study, mean; the largest | {statistics.mean(others or [first]):.2f} | {mb} |")
    print(f"| levels, grades and all of it, mean | {everything / studies:.2f} | |")
    if profile is not None:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
