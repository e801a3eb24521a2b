"""The console's pages about prompts, their test subscribers, and what came of the answers."""

from prompts.admin import prompt, test_subscribers

__all__ = ["prompt", "test_subscribers"]
