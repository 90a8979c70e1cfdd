"""Networks: the two graders, and backbones that more than one subject uses."""
