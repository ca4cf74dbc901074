"""Tables of complete runs: scores with seeds, paired gains with intervals. Loads no network."""
