"""Values that travel between the rooms. No torch, no disk, no clock."""
