"""Worker processes: the parent's side, the child's side, and the fork server between them."""
