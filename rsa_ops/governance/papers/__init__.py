"""The papers of a candidate: its signature, attestations, card and bill of materials, and their bundle."""
