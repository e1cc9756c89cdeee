"""llama.cpp's flags and the builds that take them, its command line, its architectures, its build numbers."""
