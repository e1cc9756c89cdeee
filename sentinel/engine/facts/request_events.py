"""The events that a server's lines about requests are joined into: no line of a log alone is one of them."""

from __future__ import annotations

from sentinel.model.event import EventDef

PROMPT_TURN = EventDef(
    name="prompt_turn",
    source="llama-server",
    patterns=(),
    fields={
        "in_a_row": "int",
        "why": "text",
        "n": "int",
        "total": "int",
        "seconds": "float",
        "similarity": "float",
        "percent_same": "int",
        "forced": "flag",
    },
    help=(
        "A long prompt was evaluated from scratch although most of it was known, made from the lines of one request; in_a_row "
        "counts such requests, and is 0 once when one is answered from the cache again. why is kept-nothing (similar, all was "
        "lost), not-asked (not even the first token was kept), front-changed (the same conversation, longer, that begins in "
        "another way) or displaced (others had its slot)."
    ),
)
REQUEST_OUTCOME = EventDef(
    name="request_outcome",
    source="llama-server",
    patterns=(),
    fields={"in_a_row": "int", "why": "text", "task": "int"},
    help="A request failed inside the server; in_a_row counts those without a success between, and is 0 once after a success.",
)
CLIENTS_GIVE_UP = EventDef(
    name="clients_give_up",
    source="llama-server",
    patterns=(),
    fields={"in_a_row": "int", "never_begun": "int", "silent_seconds": "float", "shows_progress": "flag"},
    help=(
        "A client gave up while nothing was begun, finished or generated since the client before it did; silent_seconds since "
        "the last line about any work; shows_progress: this build prints how far a long request has come; never_begun: how "
        "many of them in a row were not begun although no slot worked. in_a_row is 0 once after work."
    ),
)
PROMPT_SPINS = EventDef(
    name="prompt_spins",
    source="llama-server",
    patterns=(),
    fields={"repeats": "int", "n": "int", "task": "int"},
    help=(
        "The same progress of one prompt was printed again and again; a server that goes on prints another one each time. "
        "n is where it stands. repeats is 0 once when work of any kind went on."
    ),
)
DERIVED = (PROMPT_TURN, REQUEST_OUTCOME, CLIENTS_GIVE_UP, PROMPT_SPINS)
