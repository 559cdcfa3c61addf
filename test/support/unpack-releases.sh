#!/usr/bin/env bash
# Unpacks other Mosquitto releases beside the one that is installed, for the tests to run.
# Nothing is installed: each release keeps its own libraries and starts through its own loader,
#
#   <releases>/<version>/bin/mosquitto -c some.conf
#
# as any user, with the paths of this machine. <releases> is $MOSQUITTO_RELEASES, or
# /var/cache/mosquitto-passwd-ts/releases (root), or ~/.cache/mosquitto-passwd-ts/releases.
#
# Needs debootstrap, gpgv and debian-archive-keyring. The mirror is the one that apt uses; where apt
# uses none of Debian, $DEBIAN_MIRROR names it.
set -eu
umask 022

if [ "$(id -u)" = 0 ]; then
  cache=/var/cache
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}
fi
releases=${MOSQUITTO_RELEASES:-$cache/mosquitto-passwd-ts/releases}
mkdir -p "$releases"

# One run at a time, so that files that an interrupted run has left belong to no other run.
exec 9>"$releases/.lock"
flock 9
work=$releases/.unpacking
trap 'rm -rf "$work"' EXIT

fail() {
  echo "$*" >&2
  exit 1
}

find_mirror() {
  local sites=${DEBIAN_MIRROR:-}
  [ -n "$sites" ] || sites=$(apt-get indextargets --format '$(SITE)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian')
  [ -n "$sites" ] || fail 'apt uses no mirror of Debian (is `apt-get update` due?). Set DEBIAN_MIRROR to one.'
  echo "${sites%%$'\n'*}"
}

# Fetches mosquitto of a Debian suite, and what it depends on, into $work. Debootstrap checks the
# signatures; the script of its own that it gets here asks for no base system around the package.
fetch() {
  local suite=$1
  mkdir -p "$work"
  cat >"$work/suite-script" <<'SCRIPT'
mirror_style release
download_style apt
finddebs_style from-indices
variants -
keyring /usr/share/keyrings/debian-archive-keyring.gpg
work_out_debs() { required=mosquitto base=; }
SCRIPT
  PATH=$PATH:/usr/sbin debootstrap --force-check-gpg --download-only \
    "$suite" "$work/debs" "$mirror" "$work/suite-script" >"$work/log" ||
    { cat "$work/log" "$work/debs/debootstrap/debootstrap.log" >&2; return 1; }
}

# Lays out what was fetched as one release in $work/release.
lay_out() {
  local release=$work/release deb loader program
  mkdir -p "$release/root" "$release/bin"
  for deb in "$work"/debs/var/cache/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" |
      tar -x -C "$release/root" --no-same-owner --exclude='./usr/share' --exclude='./etc' --exclude='./var'
  done
  loader=$(cd "$release" && echo root/usr/lib/*/ld-linux*.so.*)
  # The links by which programs know their libraries; some packages leave them to their installation.
  PATH=$PATH:/sbin:/usr/sbin ldconfig -n "$release/${loader%/*}"
  for program in sbin/mosquitto bin/mosquitto_passwd; do
    # The kernel names a process after the file it starts, and the broker is known by that name:
    # hence a loader called mosquitto.
    ln -s "$loader" "$release/${program#*/}"
    cat >"$release/bin/${program#*/}" <<WRAPPER
#!/bin/sh
here=\${0%/*}/..
exec "\$here/${program#*/}" --library-path "\$here/${loader%/*}" "\$here/root/usr/$program" "\$@"
WRAPPER
    chmod 755 "$release/bin/${program#*/}"
  done
}

# unpack <release line> <suite>...: the first suite that has a mosquitto of that line.
unpack() {
  local line=$1 suite version mirror
  shift
  for version in "$releases/$line".*/; do
    if [ -d "$version" ]; then
      echo "$(basename "$version"): already in $version"
      return
    fi
  done
  mirror=$(find_mirror)
  for suite; do
    rm -rf "$work"
    fetch "$suite" || continue
    version=$(dpkg-deb -f "$work"/debs/var/cache/apt/archives/mosquitto_*.deb Version)
    version=${version%%[-+]*}
    case $version in
      "$line".*)
        lay_out
        "$work/release/bin/mosquitto" -h 2>&1 | grep -q "^mosquitto version $version" ||
          fail "mosquitto $version of Debian $suite does not start"
        mv "$work/release" "$releases/$version"
        echo "$version: from Debian $suite, in $releases/$version/"
        return
        ;;
    esac
  done
  fail "no Mosquitto $line could be had from these suites of Debian: $*"
}

unpack 2.0 trixie
unpack 2.1 forky sid
