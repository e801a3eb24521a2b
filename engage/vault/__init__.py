"""Credentials at rest: an encrypted JSON field that cannot hand out ciphertext, rows bound to what they belong to, and a
canary that tells a wrong key before anything else happens.
"""
