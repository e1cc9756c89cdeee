"""Rules are data: decoding, checking, evaluating and testing rule files."""
