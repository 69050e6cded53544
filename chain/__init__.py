"""The settlement chain: JSON-RPC, codecs of our contracts, transactions, and the event cursor."""
