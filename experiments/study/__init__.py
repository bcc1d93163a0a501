"""The study: what it trains, its rules, its tables and its figures; PROTOCOL.md fixes them."""
