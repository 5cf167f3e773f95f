"""ADetailer: units -> plan. `units` reads the script's arguments, `planner` applies its rules.

Source: ADetailer v25.3.0, restated in the project's facts; `stages.detailer` spells the plan in
nodes.
"""
