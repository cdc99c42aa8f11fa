#!/usr/bin/env bash
# Write the requirement files beside this script: what each level needs, at the versions of
# constraints.txt, with the hashes of every file of that version (`make lock`).
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
  .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate \
    --python-version 3.11.5 --custom-compile-command "make lock" --constraints constraints.txt "$@"
}
without() { # the options that leave packages out
  printf -- '--no-emit-package %s ' "$@"
}

# torch has a file of its own, since which build is right depends on the machine. On Linux it wants
# CUDA's libraries, but its build for the CPU does not.
closure=$(echo torch | compile - | grep -oE '^[a-z0-9-]+')
cuda=$(grep -E '^(cuda|nvidia|triton)' <<< "$closure")
others=$(grep -vE '^(cuda|nvidia|triton)' <<< "$closure")

printf 'hatchling\nsetuptools\n' | compile - -o requirements/build.txt > /dev/null
echo torch | compile - $(without $others) -o requirements/cuda.txt > /dev/null
echo torch | compile - $(without $(grep -vx torch <<< "$closure")) -o requirements/torch.txt > /dev/null
compile pyproject.toml $(without torch $cuda) -o requirements/train.txt > /dev/null
everywhere=$(sed -nE 's/^([a-z0-9-]+)==[^ ]+ \\$/\1/p' requirements/train.txt)
for level in dev fuzz docs audit; do # what each adds to train.txt
  compile pyproject.toml --extra $level $(without torch $cuda $everywhere) \
    -o requirements/$level.txt > /dev/null
done

# torch's build for the CPU (Python 3.11, x86-64), which is not in the package index.
cpu=6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
sed -i "/$cpu/d; /^torch==/a\\    --hash=sha256:$cpu \\\\" requirements/torch.txt
