"""The inline tests of rules: decoded, run on the engine, drawn as timelines."""
