"""The header of a DICOM file: parsed (`elements`) and turned into frames (`reader`)."""
