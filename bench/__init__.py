"""Measurements, as ratios against named baselines in one run. Never a test."""
