"""The tests: `core` (pure, no loop), `adapters`, `simulator`, `integration` (real components)."""
