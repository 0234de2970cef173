#!/usr/bin/env bash
# From a fresh clone to a trained network, its scores, a report and pictures.
#
#   ./quickstart.sh
#
# Installs what is missing (Debian's packages, with sudo where needed), builds, draws a data set
# of streets, trains UNet-mini on it, evaluates, and predicts. Everything lands in this folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source cmake/install_packages.sh
source cmake/fetch_onednn.sh

say() { printf '\n== %s\n' "$*"; }

say "Packages"
install_packages build
fetch_onednn

say "Build"
options=(-DMACADAM_TESTS=OFF -DMACADAM_BENCH=OFF)
if nvidia-smi -L >/dev/null 2>&1; then
  options+=(-DMACADAM_CUDA=AUTO -DMACADAM_CUDA_ARCHITECTURES=native)
else
  options+=(-DMACADAM_CUDA=OFF)  # nothing here could run it
fi
cmake --preset release "${options[@]}"
cmake --build --preset release
macadam=build/release/macadam

say "A data set of procedural streets"
[[ -f streets/streets.toml ]] || "$macadam" synth streets --images 240 --size 256x128
"$macadam" check streets

say "Training UNet-mini"
cat >quickstart.toml <<'TOML'
network   = {name = "unet_mini", dropout = 0}
dataset   = "streets"
label_set = "categories8"
size      = [128, 256]
batch     = 2
epochs    = 30
lr        = 3e-3
schedule  = "one_cycle"
class_weights = "enet"   # people and poles are few pixels
name      = "quickstart"
TOML
if [[ -f runs/quickstart/last.safetensors ]]; then
  "$macadam" train quickstart.toml --resume
else
  "$macadam" train quickstart.toml
fi

say "Scores on the validation streets"
"$macadam" eval runs/quickstart/best.safetensors streets

say "Masks of the validation streets"
photos=(streets/leftImg8bit/val/*/*.png)
"$macadam" predict runs/quickstart/best.safetensors "${photos[@]:0:8}" -o predictions --overlay

cat <<'END'

Done. Look at
  runs/quickstart/report.html    scores, curves, confusion matrix, samples
  predictions/                   ids/, color/ and overlay/

Then try
  build/release/macadam info unet_mini --train       layers, memory, implementations
  build/release/macadam train quickstart.toml name=sgd optimizer=sgd
  build/release/macadam train my.toml                your photos: see README.md
  build/release/macadam serve runs/quickstart --gallery streets      the network over HTTP:
    curl --data-binary @PHOTO.png "localhost:8080/v1/segment?format=color" -o mask.png
  build/release/macadam view --runs runs             and as a page: http://127.0.0.1:8081
END
