"""Metrics of body, hand and face pose in 2D and 3D, each with its convention and source."""
