"""How many small faults in the core modules the tests notice: a seeded sample of mutants, by cosmic-ray.

    python benchmarks/mutants.py [MODULE…] [--each 8] [--seed 0]

Each mutant is one changed operator, comparison or constant in a copy of the repository; the tests nearest to its module
run until the first failure. Printed is the share of mutants that made a test fail, and every one that did not. Ends
with 1 if the share is below .85. ``pip install cosmic-ray`` first.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parents[1]

CORE = {
    "monai_spine/geometry.py": "tests/monai_spine/test_geometry.py",
    "monai_spine/data/coverage.py": "tests/monai_spine/data/test_coverage.py",
    "monai_spine/data/series_typing.py": "tests/monai_spine/data/test_series_typing.py",
    "monai_spine/scoring/competition.py": "tests/monai_spine/scoring/test_competition.py",
    "monai_spine/scoring/figures.py": "tests/monai_spine/scoring/test_figures.py",
    "monai_spine/scoring/patient_resampling.py": "tests/monai_spine/scoring/test_patient_resampling.py",
    "monai_spine/crops/frame.py": "tests/monai_spine/crops/test_frame.py",
    "monai_spine/crops/sampling.py": "tests/monai_spine/crops/test_sampling.py",
    "monai_spine/levels/sagittal/chain.py": "tests/monai_spine/levels/sagittal/test_chain.py",
    "monai_spine/training/losses.py": "tests/monai_spine/training/test_losses.py",
    "monai_spine/training/schedules.py": "tests/monai_spine/training/test_schedules.py",
    "monai_spine/tables/calibration.py": "tests/monai_spine/tables/test_calibration.py",
    "data_prep/folds.py": "tests/data_prep/test_folds.py",
    "data_prep/phantom/labels.py": "tests/data_prep/phantom/test_labels.py",
    "data_prep/dicom/stacks/placement.py": "tests/data_prep/dicom/test_placement.py",
    "data_prep/dicom/stacks/regularity.py": "tests/data_prep/dicom/test_regularity.py",
    "data_prep/dicom/stacks/grouping.py": "tests/data_prep/dicom/test_grouping.py",
    "data_prep/dicom/stacks/splitting.py": (
        "tests/data_prep/dicom/test_splitting.py tests/data_prep/dicom/test_grouping.py "
        "tests/data_prep/dicom/test_parallel_groups.py"
    ),
    "data_prep/dicom/stacks/repeated_positions.py": "tests/data_prep/dicom/test_repeated_positions.py",
}
"""The modules whose faults nobody would see in an output, and the tests nearest to them."""

OPERATORS = re.compile(
    r"core/(AddNot|NumberReplacer|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue"
    r"|ReplaceUnaryOperator_Delete_\w+|ReplaceBreakWithContinue|ReplaceContinueWithBreak|ZeroIterationForLoop"
    r"|ReplaceComparisonOperator_(Lt_LtE|Lt_Gt|LtE_Lt|LtE_GtE|Gt_GtE|Gt_Lt|GtE_Gt|GtE_LtE|Eq_NotEq|NotEq_Eq)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Div|Mod_Mul|Pow_Mul|BitAnd_Sub))"
)
"""Faults that people make. Left out are those that annotations hold (``int | None``) and that no test could miss."""

TIMEOUT_S = 240


def main() -> int:
    """Print a line for each module, and the mutants that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(CORE), help="of the named list; all by default")
    parser.add_argument("--each", type=int, default=8, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    unnoticed = total = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        _copy_repository(Path(folder))
        os.chdir(folder)
        os.environ.update(PYTHONPATH=folder, OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
        for module in options.modules:
            sample = _sample(Path(module), options.each, options.seed)
            alive = [diff for mutation in sample if (diff := _survives(mutation, CORE[module]))]
            # Printed at once, so that a run that is ended early is not in vain.
            print(
                f"{module:<55} {len(sample) - len(alive):>3} of {len(sample):>3} noticed", *alive, sep="\n", flush=True
            )
            unnoticed += len(alive)
            total += len(sample)
    print(f"\n{total - unnoticed} of {total} mutants noticed: {1 - unnoticed / total:.1%}")
    return 0 if unnoticed <= 0.15 * total else 1


def _copy_repository(target: Path) -> None:
    """The tracked files, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(lambda one: (ROOT / one).is_file(), listed.splitlines()):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)


def _sample(module: Path, count: int, seed: int) -> list[MutationSpec]:
    """Some of all mutants of a module, the same for the same seed."""
    with use_db(":memory:", WorkDB.Mode.create) as database:
        init([module], database, {})
        mutants = [item.mutations[0] for item in database.work_items]
    plausible = sorted(
        (one for one in mutants if OPERATORS.fullmatch(one.operator_name)),
        key=lambda one: (one.start_pos, one.operator_name, one.occurrence),
    )
    return random.Random(f"{seed} {module}").sample(plausible, min(count, len(plausible)))


def _survives(mutation: MutationSpec, tests: str) -> str:
    """What the mutant changes if no test fails; empty if one does."""
    command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {tests}"
    result = mutate_and_test([mutation], command, TIMEOUT_S)
    return (result.diff or "") if result.test_outcome == TestOutcome.SURVIVED else ""


if __name__ == "__main__":
    sys.exit(main())
