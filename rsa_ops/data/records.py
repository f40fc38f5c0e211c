"""INTERIM STUB: overwrite."""
def parse_record(text: str) -> dict[str, str]:
    return dict(p.split(": ", 1) for p in text.split(" | ") if ": " in p)
