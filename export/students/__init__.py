"""The student networks in PyTorch, one a file."""
