#!/bin/bash
# deepspeed.sh FOLDER: DeepSpeed 0.19.8 without its kernels, and the pure wheels that it needs, packed into FOLDER/deepspeed.tar.xz (under 2 MB), for a machine
# that has PyTorch. There: mkdir -p /tmp/deepspeed && tar -xJf deepspeed.tar.xz -C /tmp/deepspeed && export PYTHONPATH=/tmp/deepspeed:$PYTHONPATH
# It steps with the optimizer that the trainer makes; DeepSpeed's own FusedAdam and DeepSpeedCPUAdam would have to be compiled.
set -e
mkdir -p "$1"; O=$(cd "$1" && pwd)
W=$(mktemp -d); S=$(mktemp -d); cd "$W"
python3 -m pip download -q --no-deps --no-binary :all: --no-build-isolation -d . deepspeed==0.19.8 || [ -f deepspeed-0.19.8.tar.gz ]
P="--no-deps --only-binary=:all: --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 -q"
for p in hjson==3.1.0 py-cpuinfo==9.0.0 einops==0.8.2 msgpack==1.2.4; do python3 -m pip download $P -d . "$p"; done
tar -xzf deepspeed-0.19.8.tar.gz
for w in *.whl; do unzip -q -o "$w" -d "$S"; done
cp -r deepspeed-0.19.8/deepspeed deepspeed-0.19.8/deepspeed.egg-info "$S"
rm -rf "$S"/deepspeed/ops/csrc "$S"/deepspeed/inference/v2/kernels
cd "$S"; tar -cJf "$O/deepspeed.tar.xz" .
