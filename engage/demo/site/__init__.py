"""Streamly, a small streaming site that uses `engage.js`. Anybody signs in as anybody: only with ENGAGE_DEMO."""
