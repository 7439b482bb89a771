"""Many pictures in one go: which, into which files, and by how many processes."""
