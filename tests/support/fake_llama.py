"""A small llama-server for tests of `sentinel quality`: probabilities made from the prefix, and every way to misbehave."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Status and body; bytes are sent as they are.
Answer = tuple[int, Any]


@dataclass
class Fake:
    """What it does. `moved`: how far its logits are off; `instead` answers a path in its place."""

    vocabulary: int = 1000
    moved: float = 0.0
    form: str = "logprob"
    context: int = 4096
    key: str = ""
    ends_after: int = 1 << 30
    #: slots that work on somebody else's request
    busy: int = 0
    instead: dict[str, Callable[[dict[str, Any]], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    port: int = 0

    def probabilities(self, prompt: str) -> list[tuple[int, str, float]]:
        """Number, text and logarithm of the twenty likeliest tokens."""
        seed = zlib.crc32(prompt.encode())
        logits = {}
        for at in range(30):
            number = (seed + 37 * at) % 997
            noise = (zlib.crc32(f"{seed}{at}".encode()) % 1000 / 1000 - 0.5) * self.moved
            logits[number] = -0.4 * at + noise
        whole = math.fsum(math.exp(value) for value in logits.values()) * 1.05
        rows = sorted(logits.items(), key=lambda item: -item[1])[:20]
        return [(number, f" t{number}", value - math.log(whole)) for number, value in rows]

    def completion(self, body: dict[str, Any]) -> Answer:
        """In the form of an era."""
        rows = self.probabilities(body["prompt"])
        if self.form == "2024":
            made: dict[str, Any] = {
                "content": rows[0][1],
                "probs": [{"tok_str": text, "prob": math.exp(value)} for _, text, value in rows],
            }
        elif self.form == "prob":
            made = {"id": rows[0][0], "top_probs": [{"id": n, "token": t, "bytes": [], "prob": math.exp(v)} for n, t, v in rows]}
        else:
            made = {"id": rows[0][0], "top_logprobs": [{"id": n, "token": t, "bytes": [], "logprob": v} for n, t, v in rows]}
        return 200, {"content": rows[0][1], "completion_probabilities": [made]}

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """To one request."""
        if path in self.instead:
            return self.instead[path](body)
        match path:
            case "/props":
                settings = {"n_ctx": self.context}
                return 200, {"default_generation_settings": settings, "total_slots": 2, "model_path": "/home/ann/m.gguf"}
            case "/slots":
                return 200, [{"id": at, "is_processing": at < self.busy} for at in range(2)]
            case "/v1/models":
                return 200, {"data": [{"id": "/home/ann/m.gguf", "meta": {"n_vocab": self.vocabulary, "n_params": 5}}]}
            case "/tokenize":
                return 200, {"tokens": [zlib.crc32(word.encode()) % 997 for word in body["content"].split(" ")]}
            case "/completion":
                return self.completion(body)
        return 404, {"error": {"message": "File Not Found"}}


@contextlib.contextmanager
def running(fake: Fake) -> Iterator[Fake]:
    """It listens on a port of the loopback while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.respond({})

        def do_POST(self) -> None:
            self.respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def respond(self, body: dict[str, Any]) -> None:
            fake.asked.append((self.path, body))
            if self.path == "/completion" and sum(path == "/completion" for path, _ in fake.asked) > fake.ends_after:
                self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"content"')
                return
            status, made = fake.answer(self.path, body)
            if fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
                status, made = 401, {"error": {"message": "Invalid API Key"}}
            data = made if isinstance(made, bytes) else json.dumps(made).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
