"""Names that would do something in a page if they were anything but text there."""

from __future__ import annotations

NAMES = (
    "</script><script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    '"><svg onload=window.hit=1>',
    "' onmouseover='window.hit=1' x='",
    "javascript:window.hit=1",
    "</style><style>*{display:none}</style>",
    "<!--<script>",
    "]]><script>window.hit=1</script>",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "<iframe srcdoc='<script>parent.hit=1</script>'>",
    "<base href=https://example.org/><link rel=stylesheet href=//example.org/x>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "\u202egnp.exe\u2066\u2069\u200f",
    "\x00\x1b[2J\x07\x7f\x9b\r\n\t",
    "a\u2028b\u2029c\ufeff\udcff",
    "{{constructor.constructor('window.hit=1')()}}${window.hit=1}",
    "x" * 5000,
    "漢字😀é مرحبا",
)
