"""DICOM files in, checked NIfTI volumes out.

`convert.convert` writes volumes; `scan.scan` reports from the headers alone what `convert` would do. The steps:

1. `sources` lists the input files.
2. `headers.reader` reads each header once and makes `frames`, one record per image.
3. `rejoining` and `studies` find which patient and study each frame is of.
4. `stacks.series` removes copies of images and splits a series into stacks (`stacks.grouping`,
   `stacks.splitting`, `stacks.repeated_positions`). A stack must be even (`stacks.regularity`) and gets an affine
   (`stacks.placement`).
5. `job` converts one series: `pixels` lets SimpleITK read the files (`simpleitk`) and compares what it reads with the
   headers and with our own reader (`agreement`); `nifti` writes the volume, `verification` reads it back and compares
   it with the headers, `sidecar` writes the JSON file. `decoding` hands single compressed frames to SimpleITK.
6. `tables` writes ``manifest.csv`` and ``files.csv``. `output_folder` knows which volumes in the output are of an
   earlier run.

`refusals` lists every reason why a file or a stack is not converted.
"""
