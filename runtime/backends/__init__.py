"""Where a student runs: ONNX Runtime, or a fake one for tests."""
