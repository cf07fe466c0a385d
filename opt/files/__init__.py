"""Files written whole or not at all, read with one-line errors: plain, sealed, tables, locks."""
