"""What a student finds on a data set, beside the truth and beside the PyTorch reference.

data sets    `benchmarks.datasets`: annotated pictures, and the protocol they are judged by
asking       how a student is asked for the people of a picture, and the reference in the same way
evidence     what each picture adds to the figures: sums, and ranked predictions
estimates    the figures, the reference's and their difference, each with its bootstrap interval
worst        the pictures that came out worst, drawn
record       the line that is kept of it (docs/runs.md); table: that line as Markdown
"""
