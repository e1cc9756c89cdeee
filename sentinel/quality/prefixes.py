"""The prefixes after which a server is asked for its next token. Written for this project; no text of users is ever sent.

A reference holds only against the same set: whoever changes a text raises VERSION.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

VERSION = 1


@dataclass(frozen=True, slots=True)
class Prefix:
    """One text with its name, ``code-03``, and its category."""

    name: str
    category: str
    text: str


#: The short ones, each of 4 to 40 tokens.
_SHORT = {
    "code": (
        "def add(a, b):\n    return a +",
        "for i in range(10):\n    print(",
        "import os\nimport sys\nimport",
        "int main(int argc, char **argv) {\n    printf(\"Hello, world\\n\");\n    return",
        "function square(x) {\n  return x *",
        "SELECT name, price FROM products WHERE price >",
        "try:\n    value = int(text)\nexcept",
        "fn main() {\n    let total: u32 = values.iter().",
        "if err != nil {\n\treturn",
        "while (node != NULL) {\n    node = node->",
        "class Stack:\n    def __init__(self):\n        self.items =",
        "public static void main(String[]",
        "const response = await",
        "git commit -m \"",
        "grep -rn \"pattern\" . | sort | uniq -",
        "#include <stdio.h>\n#include <stdlib.h>\n#include <",
    ),
    "api": (
        "import numpy as np\n\nmean = np.",
        "import json\n\nwith open(path) as f:\n    data = json.",
        "text = \"a,b,c\"\nparts = text.",
        "import re\n\nmatch = re.",
        "df = pd.read_csv(\"data.csv\")\nprint(df.",
        "document.getElementById(\"menu\").",
        "requests.get(url, timeout=10).",
        "cursor.execute(\"SELECT 1\")\nrow = cursor.",
        "torch.nn.functional.",
        "subprocess.run([\"ls\", \"-l\"], capture_output=",
        "os.path.",
        "thread = threading.Thread(target=work)\nthread.",
    ),
    "indentation": (
        "def f(x):\n    if x > 0:\n        return 1\n    else:\n",
        "class A:\n    def one(self):\n        pass\n\n",
        "<ul>\n  <li>one</li>\n  <li>two</li>\n",
        "services:\n  web:\n    image: nginx\n    ports:\n",
        "for row in rows:\n    for cell in row:\n        total += cell\n",
        "- fruit\n  - apple\n  - pear\n- vegetable\n",
        "if (ready) {\n    start();\n} else {\n",
        "switch (key) {\n    case 1:\n        open();\n        break;\n",
        "with open(name) as f:\n    for line in f:\n        if line.strip():\n",
        "{\n    \"a\": {\n        \"b\": 1\n",
        "\tif (x)\n\t\treturn y;\n",
        "def outer():\n    def inner():\n        return 2\n",
    ),
    "prose": (
        "The capital of France is",
        "Water boils at a temperature of one hundred degrees",
        "The sun rises in the east and sets in the",
        "She opened the door, looked around, and",
        "In the beginning of the twentieth century,",
        "The committee decided to postpone the",
        "He had never seen anything so",
        "A dictionary is a book in which",
        "On the other",
        "The largest planet of the solar system is",
        "After the rain had stopped, the children went",
        "To be or not to be, that is the",
        "The doctor told the patient that he should",
        "It was a dark and stormy",
        "Once upon a time there was a",
        "The price of oil fell because",
    ),
    "arithmetic": (
        "2 + 2 =",
        "7 * 8 =",
        "15 - 6 =",
        "100 / 4 =",
        "1, 2, 3, 4, 5,",
        "2, 4, 8, 16, 32,",
        "12 + 30 =",
        "The square of 9 is",
        "Half of 50 is",
        "Monday, Tuesday, Wednesday,",
        "3 apples and 4 apples make",
        "1000 - 1 =",
    ),
    "languages": (
        "Die Hauptstadt von Deutschland ist",
        "Guten Morgen, wie geht es",
        "La capitale de l'Italie est",
        "Je ne sais",
        "La capital de España es",
        "Buenos días, ¿cómo",
        "Il gatto è sotto il",
        "O rio corre para o",
        "Столица России —",
        "Доброе",
        "日本の首都は",
        "今天的天气很",
        "안녕하세요, 제 이름은",
        "مرحبا، كيف",
        "भारत की राजधानी",
        "De hoofdstad van Nederland is",
    ),
    "json": (
        "{\"name\": \"Anna\", \"age\":",
        "{\"items\": [1, 2, 3], \"count\":",
        "[{\"id\": 1}, {\"id\": 2}, {\"id\":",
        "{\"error\": {\"code\": 404, \"message\": \"",
        "{\"enabled\": true, \"visible\":",
        "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"",
        "{\"date\": \"2024-01-15\", \"city\": \"London\"",
        "{\"user\": {\"first\": \"Ada\", \"last\": \"",
        "{\"a\": null, \"b\":",
        "[\"red\", \"green\", \"",
        "{\"tool\": \"search\", \"arguments\": {\"query\": \"",
        "{\"lat\": 48.85, \"lon\":",
    ),
}  # fmt: skip
_COLOURS = ("red", "blue", "green", "white", "black", "yellow", "brown", "orange", "purple", "grey")
_TOWNS = ("Hamburg", "Lisbon", "Vienna", "Dublin", "Oslo", "Madrid", "Prague", "Athens", "Warsaw", "Bern")
_NAMES = ("Anna", "Bruno", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas")


def _long() -> Iterator[str]:
    """Some 300 to 550 tokens each. The next token depends on a line far above: what acts over distance (position encoding, the
    type of the KV cache, a sliding window) hardly shows after ten tokens. The records are arithmetic, so that the file is short.
    """
    boxes = "".join(f"The {_COLOURS[i % 10]} box number {i} holds {7 * i % 89 + 10} coins.\n" for i in range(1, 33))
    yield f"{boxes}The blue box number 11 holds"
    yield f"{boxes}The yellow box number 25 holds"
    people = "".join(
        f"{_NAMES[i % 10]} {i} lives in {_TOWNS[7 * i % 10]} and is {20 + 11 * i % 50} years old.\n" for i in range(1, 29)
    )
    yield f"{people}Question: where does Clara 2 live? Answer:"
    yield f"{people}Question: how old is Hugo 7? Answer:"
    code = "".join(f"def get_{_COLOURS[i % 10]}_{i}(store):\n    return store.items[{3 * i}]\n\n\n" for i in range(1, 23))
    yield f"{code}def get_all(store):\n    return [get_blue_1(store), get_green_2(store), get_"
    rows = "".join(f'  {{"id": {i}, "town": "{_TOWNS[3 * i % 10]}", "ok": {str(i % 3 == 0).lower()}}},\n' for i in range(1, 25))
    yield f'[\n{rows}  {{"id":'
    story = "".join(
        f"On day {i} {_NAMES[i % 10]} walked to {_TOWNS[i % 10]}, rested in the {_COLOURS[3 * i % 10]} house and went on.\n"
        for i in range(1, 22)
    )
    yield f"{story}On day"
    yield f"The password is {_COLOURS[6]} {_TOWNS[3]}.\n{story}The password is"


@cache
def prefixes() -> tuple[Prefix, ...]:
    """All of them, in a fixed order."""
    texts = {**_SHORT, "long": tuple(_long())}
    return tuple(
        Prefix(f"{category}-{number:02}", category, text)
        for category, of_it in texts.items()
        for number, text in enumerate(of_it, 1)
    )


@cache
def digest() -> str:
    """SHA-256 of names and texts."""
    found = sha256()
    for one in prefixes():
        found.update(f"{one.name}\0{one.text}\0".encode())
    return found.hexdigest()
