"""Log files of somebody else, judged offline."""
