"""From a record to rows: all is encoded and compared before the transaction that writes it."""
