"""`wholebody bench`: one command a file."""
