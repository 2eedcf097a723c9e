"""Latency, accuracy and the synthetic people they are measured on."""
