"""`sentinel mcp`: what an agent may ask, over standard input and output (Model Context Protocol)."""
