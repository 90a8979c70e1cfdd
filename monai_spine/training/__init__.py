"""What trainings share: losses, metrics, augmentation of batches, ignite handlers, a run from start to end."""
