"""From a picture to People, one family of students a file."""
