"""What lies on the disk of a run: its one owner, for all packages."""
