# Copied from translator/plan/__init__.py by tools/pack_shared.py: edit it there.
