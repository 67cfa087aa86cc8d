"""Layers wired into topologies, one file each, in the field's own words."""
