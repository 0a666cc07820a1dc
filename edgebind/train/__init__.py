"""Binding a sensor's tower to the space (extra: train)."""
