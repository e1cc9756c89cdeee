"""The local API: HTTP/1.1 and JSON on a unix socket. `client` imports no server, so that a command costs little."""
