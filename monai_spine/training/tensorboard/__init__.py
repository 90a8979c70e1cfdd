"""A run's log in TensorBoard, and the handlers that write pictures, curves and settings to it."""
