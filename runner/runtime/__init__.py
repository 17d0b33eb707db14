"""The one noisy room: sockets, clock, disk and telemetry. It performs commands and decides nothing."""
