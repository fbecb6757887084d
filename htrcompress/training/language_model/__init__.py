"""The auxiliary loss of a frozen language model; nothing outside imports it but for `--llm`."""
