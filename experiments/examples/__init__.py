"""Five ways in, each a script that runs in a minute: what users bring, and what they get."""
