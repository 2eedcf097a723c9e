"""Readers of annotated photographs that others published."""

from __future__ import annotations
