from minigpt.lean_imports import defer_torchmetrics

defer_torchmetrics()  # before any file of this folder imports Lightning
