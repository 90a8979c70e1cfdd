"""DICOM in, checked NIfTI volumes out: `convert.convert` writes them, `scan.scan` foretells them from the headers.

In the order of the work: `sources` finds the files; `headers` reads each once (`header_scan`, `elements`, `tags`,
`vendors`, `parameters`, `encapsulated`, `enhanced`) into `frames`; `duplicates` go; `series` and `stacks` split what is
left (`scouts`, `volumes`, `regularity`, `placement`); a `job` reads `pixels` (`decoding`, `codestreams`), rescales
(`values`), writes `nifti` and `sidecar`, checks them (`verification`) and fills in the `tables`; what a `previous` run
left is protected or replaced.
"""
