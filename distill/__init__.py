"""Training of the bundled student, from rendered people to weights."""
