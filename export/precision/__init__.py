"""FP16 and INT8 in the graph itself: which layers, by whose measure, and what it costs in accuracy."""
