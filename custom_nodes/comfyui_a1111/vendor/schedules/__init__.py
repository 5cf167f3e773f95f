# Copied from translator/schedules/__init__.py by tools/pack_shared.py: edit it there.
