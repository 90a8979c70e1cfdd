"""What every training shares: losses, metrics, batch augmentation, Ignite handlers, the state of a run."""
