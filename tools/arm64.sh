#!/usr/bin/env bash
# Run the edge on emulated 64-bit Arm boards and compare it with this machine.
#
#     tools/arm64.sh [--quick] [--root DIR] [--bundle DIR]...
#     tools/arm64.sh --probe VERSION,VERSION... [--root DIR] [--record FILE]
#     tools/arm64.sh [--root DIR] --python ARGUMENT...
#
# Every bundle in tests/frozen (and every --bundle) runs here and on each board; the results must
# agree within 1e-4. Then the tests of the runtime run on each board. --quick takes one board and a
# few tests. --probe tries versions of onnxruntime on each board instead; its last line is JSON.
# --python calls the first board's Python with the rest of the line instead.
#
# The root is unpacked from Debian packages for arm64 and from wheels, without being root, mounting
# or booting anything, and kept in DIR (${XDG_CACHE_HOME:-~/.cache}/sel-edge/arm64) until what it is
# made of changes; remove DIR to get newer packages. Nothing that is emulated needs a network.
set -euo pipefail
cd "$(dirname "$0")/.."

# Raspberry Pi 3 and Zero 2 W; Raspberry Pi 4.
BOARDS=(cortex-a53 cortex-a72)
DEBIAN_PACKAGES=(python3 libstdc++6)
# Tests build bundles with onnx and check statistics with scipy; the edge has neither.
TEST_PACKAGES=(hypothesis onnx pytest scipy)
# What `sel-edge serve` needs beyond the edge install, but for video.
SERVE_PACKAGES=(prometheus-client starlette uvicorn)
QUICK_TESTS=(tests/frozen tests/runtime/test_engine.py tests/runtime/test_training.py
    tests/runtime/test_training_refusals.py tests/runtime/test_without_torch.py)
LIMIT_S=3000
MISSING_DEPENDENCY=7

root="${XDG_CACHE_HOME:-$HOME/.cache}/sel-edge/arm64"
quick='' versions='' record='' child='' unfinished=''
boards=("${BOARDS[@]}")
bundles=(tests/frozen/bundle-*/)
arguments=()
python="${PYTHON:-.venv/bin/python}"

main() {
    parse "$@"
    need qemu-aarch64-static qemu-user-static
    need apt-get apt
    need dpkg-deb dpkg
    "$python" -c 'import onnxruntime, pip, sel_edge' 2>/dev/null || missing \
        "$python cannot import onnxruntime, pip and sel_edge." \
        "Run \`make .venv/.installed\`, or set PYTHON to an interpreter that has them."
    scratch=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -p "$(dirname "$root")"
    exec {lock}>"$root.lock"
    flock "$lock"
    wheels=$(wheels)
    build_root
    if [[ $versions ]]; then
        run "$python" -m tools.arm64_probe "$versions" --root "$root" --bundle "${bundles[0]}" \
            --boards "$(IFS=,; echo "${boards[*]}")" ${record:+--record "$record"}
        return
    fi
    if ((${#arguments[@]})); then
        emulate "${boards[0]}" "${arguments[@]}"
        return
    fi
    for board in "${boards[@]}"; do
        agree "$board"
        run_tests "$board"
    done
    echo "${boards[*]}: agree with $(uname -m), tests pass"
}

parse() {
    while (($#)); do
        case $1 in
            --quick) quick=yes boards=("${BOARDS[0]}") ;;
            --root) root=$(realpath -m "${2:?--root needs a directory}") && shift ;;
            --bundle) bundles+=("${2:?--bundle needs a directory}") && shift ;;
            --probe) versions=${2:?--probe needs versions} && shift ;;
            --python) arguments=("${@:2}") && break ;;
            --record) record=${2:?--record needs a file} && shift ;;
            *) sed -n '2,/^set/s/^# \{0,1\}//p' tools/arm64.sh >&2; exit 2 ;;
        esac
        shift
    done
}

need() {  # PROGRAM, DEBIAN PACKAGE
    [[ $(type -P "$1") ]] || missing "There is no program $1 here." \
        "Install the Debian package that holds it: \`apt-get install $2\`."
}

missing() {  # WHAT WAS FOUND, WHAT TO DO
    echo "Error (missing dependency): $1 Emulated boards need it. $2" >&2
    exit "$MISSING_DEPENDENCY"
}

clean_up() {
    if [[ $child ]] && kill "$child" 2>/dev/null; then
        wait "$child" || true
    fi
    rm -rf "$scratch" ${unfinished:+"$unfinished"}
}

# Like calling a program, but it ends when this script is told to end.
run() {
    local status=0
    "$@" &
    child=$!
    wait "$child" || status=$?
    child=''
    return "$status"
}

build_root() {
    local stamp
    stamp=$(sha256sum <<<"$(<tools/arm64.sh) $wheels")
    [[ -e $root/stamp && $(<"$root/stamp") == "$stamp" ]] && return
    echo "building $root"
    unfinished=$root.new
    rm -rf "$root" "$unfinished"
    mkdir "$unfinished"
    unpack_debian "$unfinished/debian"
    install_wheels "$unfinished/debian" "$unfinished/site"
    for board in "${BOARDS[@]}"; do
        make_board "$unfinished" "$board"
    done
    echo "$stamp" >"$unfinished/stamp"
    mv "$unfinished" "$root"
    unfinished=''
}

# The edge install, what its tests import and what serves, as pyproject.toml says.
wheels() {
    "$python" - "${TEST_PACKAGES[@]}" "${SERVE_PACKAGES[@]}" <<'END'
import re, sys, tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
stated = {}
for requirement in sum(project["optional-dependencies"].values(), project["dependencies"]):
    stated[re.match(r"[\w-]+", requirement)[0]] = requirement
print(*project["dependencies"], *(stated.get(name, name) for name in sys.argv[1:]), sep="\n")
END
}

# Resolve and fetch with a state of apt's own, so that the machine's packages play no part.
unpack_debian() {  # DIRECTORY
    local state=$scratch/apt package
    mkdir -p "$state"/{lists,archives}/partial "$1/usr"/{bin,lib,sbin}
    : >"$state/status"
    local apt=(
        apt-get -qq -y
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root
        -o APT::Install-Recommends=false -o Acquire::Languages=none
        -o Dir::State="$state" -o Dir::State::lists="$state/lists"
        -o Dir::State::status="$state/status" -o Dir::Cache="$state"
    )
    if ! run "${apt[@]}" update \
        || ! run "${apt[@]}" --download-only install "${DEBIAN_PACKAGES[@]}" >/dev/null; then
        missing "apt-get did not get ${DEBIAN_PACKAGES[*]} for arm64; it says above why." \
            "Check the network, and that /etc/apt names sources with packages for arm64."
    fi
    ln -s usr/bin usr/lib usr/sbin "$1"
    for package in "$state"/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink --directory "$1"
    done
}

install_wheels() {  # DEBIAN ROOT, DIRECTORY
    local interpreter glibc platforms=(--platform manylinux2014_aarch64) requirements
    interpreter=$(readlink "$1/usr/bin/python3")
    for glibc in 17 24 26 27 28; do
        platforms+=(--platform "manylinux_2_${glibc}_aarch64")
    done
    mapfile -t requirements <<<"$wheels"
    run "$python" -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
        --target "$2" --only-binary :all: --no-compile \
        --python-version "${interpreter#python}" "${platforms[@]}" "${requirements[@]}" \
        || missing "pip did not get the wheels for aarch64; it says above why." "Check the network."
}

# The Debian root as one board sees it. The emulator would show this machine's /proc/cpuinfo and
# /sys, from which onnxruntime chooses its kernels: the board has its own, with one core.
make_board() {  # ROOT, BOARD
    local here=$1/boards/$2 part revision directory
    case $2 in
        cortex-a53) part=0xd03 revision=4 ;;
        cortex-a72) part=0xd08 revision=3 ;;
    esac
    local cpu=$here/sys/devices/system/cpu
    mkdir -p "$here/proc" "$cpu/cpu0/topology" "$cpu/cpu0/cache/index2"
    for directory in bin etc lib sbin usr; do
        ln -s "../../debian/$directory" "$here/$directory"
    done
    printf '%s\t: %s\n' processor 0 Features 'fp asimd evtstrm crc32 cpuid' \
        'CPU implementer' 0x41 'CPU architecture' 8 'CPU variant' 0x0 \
        'CPU part' "$part" 'CPU revision' "$revision" >"$here/proc/cpuinfo"
    echo 0 | tee "$cpu"/{possible,present,cpu0/topology/{physical_package_id,cluster_cpus_list}} \
        >"$cpu/cpu0/cache/index2/shared_cpu_list"
    echo 255 >"$cpu/kernel_max"
    echo 2 >"$cpu/cpu0/cache/index2/level"
    echo 512K >"$cpu/cpu0/cache/index2/size"
    # Python takes this script for itself, so that the processes that tests start are emulated too.
    cat >"$1/debian/usr/bin/python-$2" <<END
#!/bin/sh
root=\$(dirname "\$0")/../../..
exec qemu-aarch64-static -L "\$root/boards/$2" -cpu $2 -0 "\$0" \
    "\$root/debian/usr/bin/python3" "\$@"
END
    chmod +x "$1/debian/usr/bin/python-$2"
}

emulate() {  # BOARD, ARGUMENTS OF PYTHON
    mkdir -p "$scratch/home"
    run timeout "$LIMIT_S" env -i PATH=/usr/bin:/bin HOME="$scratch/home" TMPDIR="$scratch" \
        OMP_NUM_THREADS=1 PYTHONPYCACHEPREFIX="$root/bytecode" PYTHONPATH="$root/site:$PWD" \
        "$root/debian/usr/bin/python-$1" "${@:2}"
}

agree() {  # BOARD
    local bundle
    for bundle in "${bundles[@]}"; do
        echo "$1: $bundle"
        run env OMP_NUM_THREADS=1 "$python" -m tools.agree run "$bundle" --out "$scratch/here.npz"
        emulate "$1" -m tools.agree run "$bundle" --out "$scratch/$1.npz"
        run "$python" -m tools.agree compare "$scratch/here.npz" "$scratch/$1.npz"
    done
}

# A board has no torch. The conftest of all tests, above tests/runtime, imports it, as may a test.
run_tests() {  # BOARD
    local tests=("${QUICK_TESTS[@]}") left_out=() need_torch='^(import|from) torch'
    if [[ -z $quick ]]; then
        mapfile -t tests < <(grep -LE "$need_torch" tests/{frozen,runtime}/test_*.py)
        mapfile -t left_out < <(grep -lE "$need_torch" tests/{frozen,runtime}/test_*.py)
    fi
    echo "$1: tests${left_out:+, without ${left_out[*]}, which need torch}"
    emulate "$1" -m pytest -q -p no:cacheprovider --confcutdir tests/runtime \
        --hypothesis-profile ci "${tests[@]}"
}

main "$@"
