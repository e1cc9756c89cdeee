"""How much memory a model needs, computed from its header and flags. Pure: returns figures, or the reason why not."""
