"""Trainings one after the other in each process of ``torchrun``: imports take longer than all of these trainings."""

import json
import os
import sys
from pathlib import Path

from monai.bundle import create_workflow


def main() -> None:
    """Run the trainings of a file. After a restart, those that have ended are left out."""
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    for name, (files, settings) in json.loads(Path(sys.argv[1]).read_text()).items():
        ended = Path(f"{sys.argv[1]}.{name}.{os.environ['RANK']}")
        if ended.exists():
            continue
        os.environ["TORCHELASTIC_RESTART_COUNT"] = f"{attempt}.{name}"  # the processes of each training meet anew
        workflow = create_workflow(config_file=files, workflow_type="train", run_id="training", **settings)
        workflow.run()
        workflow.finalize()
        ended.touch()


if __name__ == "__main__":
    main()
