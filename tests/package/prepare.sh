# What the test of the package needs: cargo-deb and a Debian root, both made once and kept. Sourced after tests/vm/prepare.sh.
cargo_deb_version=3.8.0

cargo_deb() {           # prints the path of cargo-deb, after building it if there is none
    local root=$cache/cargo-deb-$cargo_deb_version
    if [ ! -x "$root/bin/cargo-deb" ]; then
        say "building cargo-deb $cargo_deb_version"
        # It packs one package: nothing of it needs to be fast but what compresses, which its own profile sees to.
        cargo install --quiet --locked --root "$root" "cargo-deb@$cargo_deb_version" >&2 || die "cargo-deb could not be built"
    fi
    echo "$root/bin/cargo-deb"
}

debian_root() {         # prints the path of a Debian root of this machine's release (or BEACONFENCE_SUITE), made if there is none
    local own suite packages target
    own=$(. /etc/os-release && echo "$VERSION_CODENAME")
    suite=${BEACONFENCE_SUITE:-$own}
    packages=$(grep -hv '^#' "$here/root-packages.txt" | paste -sd,)
    target=$cache/root-$suite-$(echo "$packages" | sha256sum | cut -c1-12)
    mkdir -p "$cache"
    # Two runs at once shall not make it twice.
    ( flock 9; [ -d "$target" ] || make_root "$own" "$suite" "$packages" "$target" ) 9>"$cache/root-lock" || exit 1
    realpath "$target"
}

make_root() {           # make_root OWN SUITE PACKAGES TARGET
    local mirror new
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' "Created-By: Packages" |
        awk -v s="$1" '$2 == s { print $1; exit }')
    [ -n "$mirror" ] || die "apt knows no repository of Debian $1"
    new=$(mktemp -d "$cache/root.XXXXXX")
    chmod 755 "$new"
    say "making a root of Debian $2 from $mirror"
    # What it mounts for its scripts ends with it, also where it fails.
    as_root unshare --mount debootstrap --variant=minbase --include="$3" "$2" "$new" "$mirror" >"$cache/debootstrap.log" 2>&1 \
        || { tail -n 20 "$cache/debootstrap.log" >&2; as_root rm -rf "$new"; die "debootstrap failed"; }
    as_root rm -rf "$new"/var/cache/apt/archives/*.deb
    as_root mv -T "$new" "$4"       # at once, so that an interrupted run leaves nothing half done
}
