"""Turns a trace into something to look at. No I/O: text comes out."""
