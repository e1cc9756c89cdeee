"""`sentinel rules` and its actions."""
