#!/usr/bin/env bash
# Installs other runtimes beside the Node that runs, for the tests: by default Node 24, which has argon2.
#
#   install-runtimes.sh [node-MAJOR | bun | deno]...
#
# Each goes to ${XDG_CACHE_HOME:-~/.cache}/mosquitto-passwd-ts/NAME/bin. They come from the npm registry, one package
# for each platform, which runs no install script.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/mosquitto-passwd-ts
os=$(node -p process.platform)
arch=$(node -p process.arch)

for name in "${@:-node-24}"; do
  # The package, where in it the program stands, and what the program is called.
  case $name in
    node-*) package=node-${os/win32/win}-$arch@${name#node-} bin=bin program=node ;;
    bun) package=@oven/bun-${os/win32/windows}-${arch/arm64/aarch64}@1 bin=bin program=bun ;;
    deno) package=@deno/$os-$arch@2 bin=. program=deno ;;
    *) echo "$0: there is no $name" >&2 && exit 1 ;;
  esac
  # Deno has builds for the C library of Linux.
  if [ "$name-$os" = deno-linux ]; then package=@deno/linux-$arch-glibc@2; fi
  folder=$cache/$name
  if [ ! -x "$folder/bin/$program" ]; then
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-package-lock --no-audit --no-fund "$package" >&2
    ln -sfn "node_modules/${package%@*}/$bin" "$folder/bin"
    chmod +x "$folder/bin/$program"
  fi
  echo "$name: $("$folder/bin/$program" --version | head -n 1) in $folder/bin"
done
