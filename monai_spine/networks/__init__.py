"""Networks that more than one subject uses, and the two graders."""
