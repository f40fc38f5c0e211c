"""Parse, call, render, exit; nothing imports this room. Heavy libraries are imported inside the commands."""
