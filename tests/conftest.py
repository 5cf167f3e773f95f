"""What all tests share: hypothesis without deadlines, as the machines that run this are shared."""

from hypothesis import settings

settings.register_profile("shared-machine", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("shared-machine")
