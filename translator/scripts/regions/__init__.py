"""Prompts by region: the always-on scripts Regional Prompter and Forge Couple."""
