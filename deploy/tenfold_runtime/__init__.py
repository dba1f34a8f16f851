"""What runs inside a user's environment: one worker process that loads a model or an app's code and answers frames.

Standard library only, Python 3.9 and later: it is copied next to the user's environment, never installed into it.
"""
