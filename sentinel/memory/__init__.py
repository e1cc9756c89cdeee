"""How much memory a model needs, computed from its header and its flags. Pure: numbers in, numbers or a reason out."""
