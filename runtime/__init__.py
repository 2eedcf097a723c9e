"""Values, backends, kernels and pipelines: what goes onto the robot; never imports torch."""
