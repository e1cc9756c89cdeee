"""What is known of llama.cpp: its flags and the builds that take them, command lines, architectures. Pure."""
