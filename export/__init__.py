"""From a PyTorch checkpoint to a verified ONNX student."""
