"""Post-processing steps, one a file; the NumPy function in each is its specification."""
