"""The training of dope-mini."""
