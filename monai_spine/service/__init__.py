"""The node of an archive: it receives studies, grades them, and sends DICOM objects back.

Nothing that it writes for people names a patient: a study is called by its number in the queue.
"""
