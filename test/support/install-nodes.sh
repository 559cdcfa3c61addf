#!/usr/bin/env bash
# Puts other releases of Node beside the one that runs, for the tests to use: by default Node 24, which has argon2.
#
#   install-nodes.sh [MAJOR]...   →   ${XDG_CACHE_HOME:-~/.cache}/mosquitto-passwd-ts/node-MAJOR/bin/node
#
# They come from the npm registry, one package for each platform, which runs no install script.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/mosquitto-passwd-ts
platform=$(node -p 'process.platform.replace("win32", "win") + "-" + process.arch')

for major in "${@:-24}"; do
  folder=$cache/node-$major
  if [ ! -x "$folder/bin/node" ]; then
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-package-lock --no-audit --no-fund "node-$platform@$major" >&2
    ln -sfn "node_modules/node-$platform/bin" "$folder/bin"
  fi
  echo "$("$folder/bin/node" --version): $folder/bin/node"
done
