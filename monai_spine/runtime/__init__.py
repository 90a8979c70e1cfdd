"""Libraries that run networks: PyTorch itself, OpenVINO and ONNX Runtime, and the models converted for them."""
