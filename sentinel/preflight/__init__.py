"""Will it fit? The verdict on a command line of llama-server before it is started: model, flags, build and machine together.

No tensor is loaded and nothing is changed. What is run, if anything, is the llama-server of the command line itself, asked for
its version and its devices; the daemon runs nothing.
"""
