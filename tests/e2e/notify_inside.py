"""Runs inside the booted system: takes what `sentinel notify` posts, a line for each message with the path that it came to."""

from __future__ import annotations

import http.server
import json
import sys
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    """Appends to the file named on the command line."""

    def do_POST(self) -> None:
        """One message."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with Path(sys.argv[1]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"path": self.path, **body}) + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


if __name__ == "__main__":
    http.server.HTTPServer(("127.0.0.1", 9199), Handler).serve_forever()
