"""Will it fit? The verdict on a llama-server command line before it starts: model, flags, build and machine together.

No tensor is loaded and nothing is changed. At most the command line's own llama-server is run, for its version and its
devices; the daemon runs nothing.
"""
