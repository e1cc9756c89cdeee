"""What we know of llama.cpp: its flags and the builds that take them, its command line, its architectures, its build numbers."""
