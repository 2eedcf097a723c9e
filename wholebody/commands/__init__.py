"""The commands of the command line: each parses, calls one public function and prints."""
