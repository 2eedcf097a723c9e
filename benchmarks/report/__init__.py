"""The report of recorded runs: one HTML page that needs nothing else, and the same in Markdown."""
