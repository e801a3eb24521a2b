"""The demo: everything that the product needs, under one command (`make demo`), with a company to look at.

`launcher` starts and watches the processes; it knows nothing of Django, since it makes the secrets that Django asks for.
`seed` makes the company, in a process of its own (`manage.py seed_demo`).
"""
