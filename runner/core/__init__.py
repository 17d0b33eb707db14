"""What a flow means. No I/O, no clock, no dice, no environment: see ARCHITECTURE.md."""
