"""Who is scanned: disease, sizes, posture and unusual findings of one person, in straightened spine coordinates."""
