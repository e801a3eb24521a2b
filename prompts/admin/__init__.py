"""The console's pages about prompts, their test subscribers, and what came of the answers."""

from prompts.admin import live, prompt, test_subscribers

__all__ = ["live", "prompt", "test_subscribers"]
