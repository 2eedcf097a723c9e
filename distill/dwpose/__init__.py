"""The training of dwpose-mini."""
