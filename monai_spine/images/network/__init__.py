"""The classifier network, which of its layers learn, and the description that lies beside its weights."""
