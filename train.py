"""Train a GPT from conf/train.yaml: `python train.py key=value ...`.

The steps of a run stand in minigpt/commands/train.py, so that `minigpt train`, installed from a
wheel, is the same command.
"""

from minigpt.commands.train import main

if __name__ == "__main__":
    main()
